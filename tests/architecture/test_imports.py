"""The house keeps its rooms apart: what each may never import, read from the source without running it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROOMS = ("app", "ics", "lambdas", "stacks", "serving", "training", "local", "cli", "benchmarks", "notebooks")
AWS_CLIENTS = ("boto3", "botocore", "obstore", "aiobotocore")

# The table: what a room never imports. A name stands for itself and everything below it.
NEVER: dict[str, tuple[str, ...]] = {
    "app": (*AWS_CLIENTS, "torch", "lambdas", "serving", "training", "local", "cli"),
    "ics": (*AWS_CLIENTS, "aws_cdk", "torch", *(room for room in ROOMS if room != "ics")),
    "lambdas": ("aws_cdk", "stacks", "local", "training", "cli"),
    "stacks": ("lambdas", "serving", "training", "local", "cli"),
    "serving": ("aws_cdk", "lambdas", "training", "stacks", "cli"),
    "training": ("aws_cdk", "lambdas", "stacks", "cli"),
    "local": ("app", "cli"),
    "cli": ("app",),
}
# The same from the other side: who alone may import a room.
ONLY_FOR: dict[str, tuple[str, ...]] = {
    "local": ("local", "cli"),
    "benchmarks": ("benchmarks",),
    "notebooks": (),
    "tests": (),
}
# The domain does not look around: what it depends on is handed to it.
READS_ENVIRONMENT = ("os.environ", "os.environb", "os.getenv", "os.getenvb")

LONGEST = (("app.py", 80), ("lambdas/*/handler.py", 60))
"""Lines that a file stays under: app.py is one screen; a handler parses, calls `ics`, maps out."""

Problems = Iterator[tuple[int, str]]


@dataclass(frozen=True)
class Module:
    """A source file: where it is, what it imports (line, full dotted name), which dotted names it uses."""

    room: str
    name: str
    length: int
    imports: list[tuple[int, str]]
    uses: list[tuple[int, str]]
    functions: frozenset[str]  # the house's Lambda functions, by folder


def violations(root: Path) -> list[str]:
    """Everything in the rooms below `root` that the tables forbid, as `path:line: what`."""
    rules = (_never, _only_for, _siblings, _private, _environment, _length)
    return [
        f"{module.name}:{line}: {problem}"
        for module in _modules(root)
        for rule in rules
        for line, problem in rule(module)
    ]


def _never(module: Module) -> Problems:
    for line, imported in module.imports:
        for one in NEVER.get(module.room, ()):
            if _below(imported, one):
                yield line, f"{module.room} never imports {one}"


def _only_for(module: Module) -> Problems:
    for line, imported in module.imports:
        for one, allowed in ONLY_FOR.items():
            if _below(imported, one) and module.room not in allowed:
                yield line, f"{one} is imported by {' and '.join(allowed) or 'nobody'}"


def _siblings(module: Module) -> Problems:
    own = Path(module.name).parent.as_posix().replace("/", ".")
    for line, imported in module.imports:
        function = ".".join(imported.split(".")[:2])
        if module.room == "lambdas" and function in module.functions and function != own:
            yield line, f"{imported} is a sibling function's"


def _private(module: Module) -> Problems:
    for line, used in {*module.imports, *module.uses}:
        room, _, inside = used.partition(".")
        if room in ROOMS and room != module.room and re.search(r"(^|\.)_(?!\w*__(\.|$))", inside):
            yield line, f"{used} is private"


def _environment(module: Module) -> Problems:
    for line, used in {*module.imports, *module.uses}:
        if module.room == "ics" and used in READS_ENVIRONMENT:
            yield line, f"ics never reads {used}"


def _length(module: Module) -> Problems:
    for pattern, longest in LONGEST:
        if fnmatch(module.name, pattern) and module.length >= longest:
            yield longest, f"{module.length} lines; {pattern} stays under {longest}"


def _modules(root: Path) -> Iterator[Module]:
    functions = frozenset(f"lambdas.{path.parent.name}" for path in root.glob("lambdas/*/handler.py"))
    for room in ROOMS:
        for path in sorted([*root.glob(f"{room}.py"), *root.glob(f"{room}/**/*.py")]):
            name, source = path.relative_to(root).as_posix(), path.read_text("utf-8")
            tree = ast.parse(source, name)
            imports, bound = list(_imports(tree, name)), _bound_to(tree, name)
            uses = [
                (node.lineno, dotted)
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and (dotted := _dotted(node, bound))
            ]
            yield Module(room, name, len(source.splitlines()), imports, uses, functions)


def _imports(tree: ast.Module, name: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported, `from a import b` as a.b, also by importlib."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{_source(node, name)}{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def _source(node: ast.ImportFrom, name: str) -> str:
    """The module that `from ... import` names with a dot behind it, relative ones resolved."""
    package = Path(name).parts[: -node.level] if node.level else ()
    return "".join(f"{part}." for part in (*package, node.module) if part)


def _bound_to(tree: ast.Module, name: str) -> dict[str, str]:
    """What each imported name stands for."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{_source(node, name)}{alias.name}"
    return bound


def _dotted(node: ast.expr, bound: dict[str, str]) -> str:
    """The full dotted name of `module.attribute`, empty where it does not begin with an imported name."""
    if isinstance(node, ast.Name):
        return bound.get(node.id, "")
    if isinstance(node, ast.Attribute) and (outer := _dotted(node.value, bound)):
        return f"{outer}.{node.attr}"
    return ""


def _below(imported: str, name: str) -> bool:
    return imported == name or imported.startswith(f"{name}.")


def test_the_house_is_seen() -> None:
    assert {module.room for module in _modules(ROOT)} >= {"app", "ics", "lambdas", "stacks", "serving", "local", "cli"}
    assert len(list(ROOT.glob("lambdas/*/handler.py"))) >= 6


def test_no_room_imports_what_it_must_not() -> None:
    assert violations(ROOT) == []


VIOLATIONS = [
    *(
        (f"{room}/x.py" if room != "app" else "app.py", f"import {name}", name)
        for room in NEVER
        for name in NEVER[room]
    ),
    ("ics/x.py", "from aws_cdk.aws_s3 import Bucket", "ics never imports aws_cdk"),
    ("ics/x.py", "def late():\n    import boto3.session", "ics never imports boto3"),
    ("ics/x.py", "import importlib\nimportlib.import_module('boto3')", "ics never imports boto3"),
    ("ics/x.py", "from .. import stacks", "ics never imports stacks"),
    ("ics/deep/x.py", "from ...lambdas import runtime", "ics never imports lambdas"),
    ("ics/x.py", "import os\nprint(os.environ['A'])", "ics never reads os.environ"),
    ("ics/x.py", "import os as system\nsystem.getenv('A')", "ics never reads os.getenv"),
    ("ics/x.py", "from os import environ", "ics never reads os.environ"),
    ("lambdas/plan_run/handler.py", "from lambdas.classify_image.endpoint import invoke", "is a sibling function's"),
    ("lambdas/plan_run/handler.py", "from lambdas import summarize_run", "is a sibling function's"),
    ("lambdas/plan_run/handler.py", "from ..classify_image import bisection", "is a sibling function's"),
    ("lambdas/runtime.py", "import lambdas.plan_run.handler", "is a sibling function's"),
    ("lambdas/plan_run/handler.py", "\n" * 60, "stays under 60"),
    ("app.py", "\n" * 80, "stays under 80"),
    ("serving/x.py", "from local import daemon", "local is imported by local and cli"),
    ("cli/x.py", "import benchmarks.bench", "benchmarks is imported by benchmarks"),
    ("training/x.py", "from notebooks import explore", "notebooks is imported by nobody"),
    ("cli/x.py", "from tests.artifacts import make", "tests is imported by nobody"),
    ("cli/x.py", "from ics.imaging import _fit", "ics.imaging._fit is private"),
    ("cli/x.py", "from ics import imaging\nimaging._fit", "ics.imaging._fit is private"),
    ("cli/x.py", "import ics.imaging\nics.imaging._fit(1)", "ics.imaging._fit is private"),
    ("cli/x.py", "from local import _secrets", "local._secrets is private"),
]


@pytest.mark.parametrize(("path", "source", "problem"), VIOLATIONS, ids=lambda value: value.strip()[:50])
def test_each_violation_is_caught(tmp_path: Path, path: str, source: str, problem: str) -> None:
    _house(tmp_path)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(source)
    found = violations(tmp_path)
    assert any(problem in one and one.startswith(f"{path}:") for one in found), found


def test_what_is_allowed_is_not_caught(tmp_path: Path) -> None:
    _house(tmp_path)
    assert violations(tmp_path) == []


def _house(root: Path) -> None:
    """A small house in good order."""
    for path, source in {
        "app.py": "import aws_cdk\nfrom stacks.config import load",
        "ics/x.py": "import os\nfrom PIL import Image\nfrom ics.errors import IcsError\nos.path\nself._x\nImage._show",
        "ics/boto3_like.py": "import torchlike\nfrom .errors import IcsError\nfrom . import _private",
        "lambdas/runtime.py": "import os\nfrom obstore.store import S3Store\nos.environ['A']",
        "lambdas/plan_run/handler.py": "from lambdas.runtime import log\nfrom lambdas.plan_run import x",
        "lambdas/classify_image/handler.py": "from lambdas.classify_image.endpoint import invoke",
        "lambdas/summarize_run/handler.py": "from ics import digest",
        "serving/x.py": "import os\nfrom ics.imaging import prepare\nos.environ['PORT']\nprepare.__doc__",
        "cli/x.py": "import boto3\nfrom local import control\nfrom cli.show import _table\ncontrol.start",
        "training/x.py": "import torch\nfrom ics import imaging\nimaging.prepare",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(source)
