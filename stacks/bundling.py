"""A Lambda function's asset: a small zip of its sources and its locked dependencies, made by uv without Docker.

The zip holds `ics/`, what the functions share, the function's own folder and what its `requirements.txt` locks, as
wheels for the architecture and Python it will run on, and further files where the function needs any. Both the
installed packages and the zip are kept under `build/` by the hash of all they are made of, so that another synth does
no work; functions with equal requirements share an installation. Zips are deterministic: sorted, dated 1980, readable
by all, as Lambda asks.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stacks.config import ROOT, LambdaConfig

BUILD = ROOT / "build"

# What no function imports: type stubs, tests, byte code and the installer's own records. Licences stay.
UNUSED = ("*.pyi", "py.typed", "__pycache__", "tests", "sboms", "INSTALLER", "REQUESTED", "RECORD", "direct_url.json")

UNZIPPED = 262_144_000
"""Bytes of a function's code, unzipped: AWS Lambda quotas, "Deployment package (.zip file archive) size", 250 MB."""

FAST = 1  # of zlib's levels: a net's runtime is packed in a third of the time and grows by a tenth
KEPT = 8  # zips of a function, the last used ones: every environment's, and some to go back to


class BundlingError(RuntimeError):
    """A function's dependencies cannot be installed for where it runs, or its sources are not there."""


@dataclass(frozen=True)
class Target:
    """Where a function runs: `arm64` or `x86_64`, a Python like `3.14`, and whether that is this very machine."""

    architecture: str
    python: str
    is_host: bool

    @property
    def uv_options(self) -> list[str]:
        """What makes uv choose this target's wheels. Lambda's Pythons from 3.12 on run on glibc 2.34."""
        if self.is_host:
            return ["--python", sys.executable]
        machine = {"arm64": "aarch64", "x86_64": "x86_64"}[self.architecture]
        return ["--python-platform", f"{machine}-manylinux_2_28", "--python-version", self.python]


def target_of(config: LambdaConfig) -> Target:
    """Resolve `host` to this machine's architecture and Python."""
    machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    architecture = machine if config.architecture == "host" else config.architecture
    version = python if config.python == "host" else config.python
    return Target(architecture, version, is_host=config.python == "host")


def bundle(
    function: str,
    target: Target,
    root: Path = ROOT,
    build: Path = BUILD,
    *,
    name: str | None = None,
    further: Mapping[str, Path] | None = None,
) -> Path:
    """The zip of the function whose folder is `lambdas/<function>`, with `further` files by their names in the zip.

    `name` is the zip's own where several functions have one folder. Raises `BundlingError`, also where the code is
    larger than Lambda takes.
    """
    name, further = name or function, further or {}
    folder = root / "lambdas" / function
    for needed in ("handler.py", "requirements.txt"):
        if not (folder / needed).is_file():
            raise BundlingError(f"lambdas/{function}/{needed} does not exist")
    packages = _install(folder / "requirements.txt", target, build)
    sources = sorted([*(root / "ics").rglob("*.py"), *(root / "lambdas").glob("*.py"), *folder.rglob("*.py")])
    installed = sorted(path for path in packages.rglob("*") if path.is_file())
    own = [(path, path.relative_to(root)) for path in sources]
    own += [(path, Path(place)) for place, path in sorted(further.items())]
    entries = own + [(path, path.relative_to(packages)) for path in installed]
    key = _digest([packages.name.encode(), *(part for path, place in own for part in _named(path, place))])
    archive = build / "lambdas" / f"{name}-{key}.zip"
    if archive.exists():
        archive.touch()
        return archive
    size = sum(path.stat().st_size for path, _ in entries)
    if size > UNZIPPED:
        raise BundlingError(f"{name}: {size:,} bytes unzipped exceed Lambda's {UNZIPPED:,}: serve it by an endpoint")
    with tempfile.TemporaryDirectory(dir=_made(archive.parent)) as temporary:
        staged = Path(temporary) / archive.name
        _write_zip(staged, entries)
        staged.replace(archive)  # whole or not at all, whoever else is synthesizing
    with contextlib.suppress(FileNotFoundError):  # another synth is removing them
        for old in sorted(
            archive.parent.glob(f"{name}-{'?' * len(key)}.zip"), key=lambda path: path.stat().st_mtime_ns
        )[:-KEPT]:
            old.unlink()
    return archive


def _install(requirements: Path, target: Target, build: Path) -> Path:
    """Install the locked requirements for the target, once; give the folder."""
    options = ["--only-binary", ":all:", "--require-hashes", "--no-deps", "--link-mode", "copy", *target.uv_options]
    system = sys.platform if target.is_host else "linux"
    key = _digest([requirements.read_bytes(), repr((target, system, UNUSED)).encode()])
    packages = build / "packages" / key
    if packages.exists():
        return packages
    with tempfile.TemporaryDirectory(dir=_made(packages.parent)) as temporary:
        staged = _made(Path(temporary) / "packages")
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(staged), *options]
        done = subprocess.run([*command, "-r", str(requirements)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BundlingError(f"{requirements.parent.name} for {target}: {done.stderr.strip()}")
        for pattern in UNUSED:
            for path in list(staged.rglob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        try:
            staged.rename(packages)
        except OSError:  # another synth was first, and its folder is equal
            if not packages.exists():
                raise
    return packages


def _write_zip(archive: Path, entries: Iterable[tuple[Path, Path]]) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path, name in entries:
            info = zipfile.ZipInfo(name.as_posix())  # dated 1980-01-01
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
            file.writestr(info, path.read_bytes(), compresslevel=FAST)


def _named(path: Path, place: Path) -> tuple[bytes, bytes]:
    return place.as_posix().encode(), path.read_bytes()


def _digest(parts: Iterable[bytes]) -> str:
    """16 hex digits of the parts' SHA-256, each part framed by its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
