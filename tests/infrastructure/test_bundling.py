"""Assets: right for where they run, complete, small, and made once."""

import platform
import struct
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from stacks import bundling
from stacks.bundling import BundlingError, Target, bundle, target_of
from stacks.config import LambdaConfig

MEGABYTE = 1_000_000
COMPUTES = "classify_in_lambda"
COMPUTED_WITH = {f"serving/{name}.py" for name in ("__init__", "beam", "ctc", "language", "model")} | {
    f"model/{name}" for name in ("model.onnx", "model.json", "card.md")
}
# ELF's e_machine, elf(5): EM_X86_64 and EM_AARCH64.
MACHINES = {62: "x86_64", 183: "arm64"}


def machines_of(archive):
    """The processors that a zip's Linux libraries are for."""
    with zipfile.ZipFile(archive) as file:
        libraries = [name for name in file.namelist() if ".so" in name]
        headers = [file.open(name).read(20) for name in libraries]
    assert all(header[:4] == b"\x7fELF" for header in headers)
    return {MACHINES[struct.unpack_from("<H", header, 18)[0]] for header in headers}


def test_assets_fit_the_processor_and_python_they_run_on(assembly):
    functions = assembly.functions
    for function in functions:
        archive = assembly.zip_of(function)
        if assembly.environment == "local":
            host = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
            assert function["Runtime"] == f"python{sys.version_info.major}.{sys.version_info.minor}"
            assert function.get("Architectures", ["x86_64"]) == [host]
            if sys.platform == "linux":
                assert machines_of(archive) == {host}
        else:
            assert (function["Runtime"], function["Architectures"]) == ("python3.14", ["arm64"])
            assert machines_of(archive) == {"arm64"}


def test_assets_are_complete_small_and_hold_no_other_function(assembly):
    for function in assembly.functions:
        folder = function["Handler"].split(".")[1]
        with zipfile.ZipFile(assembly.zip_of(function)) as file:
            names = set(file.namelist())
            assert sum(item.file_size for item in file.infolist()) < (190 if folder == COMPUTES else 60) * MEGABYTE
            assert all(item.external_attr >> 16 & 0o444 == 0o444 for item in file.infolist())  # Lambda's user reads
        assert {
            f"lambdas/{folder}/handler.py",
            "lambdas/__init__.py",
            "lambdas/runtime.py",
            "ics/contracts.py",
        } <= names
        assert {name.split("/")[1] for name in names if name.startswith("lambdas/") and name.count("/") > 1} == {folder}
        packages = {name.partition("/")[0] for name in names}
        assert "obstore" in packages
        assert ("PIL" in packages) == (folder in ("api", "serialize_image_data", "make_contact_sheet", COMPUTES))
        assert not packages & {"boto3", "botocore"}
        assert ("numpy" in packages) == (folder == COMPUTES)
        own = {name for name in names if name.startswith(("serving/", "model/"))}
        assert own == (COMPUTED_WITH if folder == COMPUTES else set())
        assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".pyi"))]
        assert [name for name in names if "dist-info/" in name], "licences and versions travel with the code"


def test_every_function_imports_from_its_asset_alone(local, tmp_path):
    for function in local.functions:
        unpacked = tmp_path / function["FunctionName"]
        with zipfile.ZipFile(local.zip_of(function)) as file:
            file.extractall(unpacked)
        module = function["Handler"].rpartition(".")[0]
        # -S -I: neither this environment's packages nor the working directory.
        code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); import {module} as m; assert callable(m.handler)"
        done = subprocess.run([sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def project(tmp_path):
    """A project of one function without dependencies, and its build folder."""
    root = tmp_path / "project"
    for name in (
        "ics/__init__.py",
        "lambdas/__init__.py",
        "lambdas/greet/handler.py",
        "lambdas/greet/requirements.txt",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return root, tmp_path / "build"


AWS = Target("arm64", "3.14", is_host=False)


def test_a_second_bundle_installs_nothing_and_changed_sources_are_packed_again(project, monkeypatch):
    root, build = project
    first = bundle("greet", AWS, root, build)
    file = first.stat().st_ino
    monkeypatch.setattr(bundling.subprocess, "run", lambda *args, **options: pytest.fail("nothing needs installing"))
    assert bundle("greet", AWS, root, build) == first
    assert first.stat().st_ino == file
    (root / "ics/__init__.py").write_text("# changed\n")
    assert bundle("greet", AWS, root, build) != first


def test_only_the_last_used_assets_of_a_function_are_kept(project):
    root, build = project

    def bundled(text):
        (root / "ics/__init__.py").write_text(text)
        return bundle("greet", AWS, root, build)

    made = [bundled(f"# {number}\n") for number in range(bundling.KEPT)]
    assert bundled("# 0\n") == made[0], "used again, so the second is now the oldest"
    newest = bundled("# new\n")
    assert {path for path in made if path.exists()} == set(made) - {made[1]}
    assert newest.exists()


def test_further_files_are_packed_by_their_names_and_change_the_asset(project, tmp_path):
    root, build = project
    model = tmp_path / "model.onnx"
    model.write_bytes(b"one")
    first = bundle("greet", AWS, root, build, name="greet.a", further={"model/model.onnx": model})
    assert zipfile.ZipFile(first).read("model/model.onnx") == b"one"
    model.write_bytes(b"two")
    second = bundle("greet", AWS, root, build, name="greet.a", further={"model/model.onnx": model})
    assert first != second
    assert zipfile.ZipFile(second).read("model/model.onnx") == b"two"
    assert bundle("greet", AWS, root, build, name="greet.a-b", further={}).name.startswith("greet.a-b-")


def test_what_lambda_would_refuse_for_its_size_is_refused_with_what_to_do(project, tmp_path, monkeypatch):
    root, build = project
    model = tmp_path / "model.onnx"
    model.write_bytes(bytes(1000))
    monkeypatch.setattr(bundling, "UNZIPPED", 1000)
    bundle("greet", AWS, root, build, further={"model/model.onnx": model})  # the sources are empty
    model.write_bytes(bytes(1001))
    with pytest.raises(BundlingError, match=r"greet: 1,001 bytes unzipped exceed Lambda's 1,000: serve it by an end"):
        bundle("greet", AWS, root, build, further={"model/model.onnx": model})


def test_another_processor_or_python_is_another_asset(project):
    root, build = project
    targets = (AWS, Target("x86_64", "3.14", is_host=False), Target("arm64", "3.13", is_host=False))
    assert len({bundle("greet", target, root, build) for target in targets}) == len(targets)


def test_the_same_sources_give_the_same_bytes_wherever_they_are_bundled(project, tmp_path):
    root, build = project
    assert bundle("greet", AWS, root, build).read_bytes() == bundle("greet", AWS, root, tmp_path / "b").read_bytes()


def test_bundling_at_once_from_many_threads_leaves_one_whole_asset(project):
    root, build = project
    with ThreadPoolExecutor(4) as threads:
        archives = set(threads.map(lambda _: bundle("greet", AWS, root, build), range(4)))
    (archive,) = archives
    assert list((build / "lambdas").iterdir()) == [archive]
    assert len(list((build / "packages").iterdir())) == 1
    assert zipfile.ZipFile(archive).testzip() is None


def test_what_cannot_be_bundled_is_named(project):
    root, build = project
    with pytest.raises(BundlingError, match=r"lambdas/absent/handler\.py does not exist"):
        bundle("absent", AWS, root, build)
    (root / "lambdas/greet/requirements.txt").write_text("obstore==0.12.1\n")
    with pytest.raises(BundlingError, match=r"(?s)greet .*arm64.*hash"):
        bundle("greet", AWS, root, build)
    assert not (build / "lambdas").exists(), "a failed installation leaves no asset"
    assert not any((build / "packages").iterdir())


def test_host_is_this_machine():
    target = target_of(LambdaConfig(architecture="host", python="host"))
    assert target.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert target.is_host
    assert target_of(LambdaConfig(architecture="arm64", python="3.14")) == AWS
