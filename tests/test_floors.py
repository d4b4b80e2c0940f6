"""The floors of the house: who may import whom, and what a light door must leave unloaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

import thalweg

SOURCE = Path(thalweg.__file__).parent

FLOORS = (
    ("types", "facts", "sample_facts", "errors", "version", "strict", "cache", "keys"),
    ("rules", "schedules", "guard"),
    ("backends", "record", "scale"),
    ("optim", "state", "tasks", "probes", "health", "draw"),
    ("loop",),
    ("trials", "landscape"),
    ("tuning",),
    ("jobs",),
    ("adapters", "cli", "web"),
    ("__init__", "__main__"),
)
"""A folder imports itself and lower floors; folders of one floor do not know each other."""

OUTSIDE = {
    "types": "",
    "facts": "",
    "sample_facts": "",
    "errors": "",
    "version": "",
    "strict": "",
    "cache": "",
    "keys": "",
    "rules": "",
    "schedules": "",
    "guard": "",
    "backends": "numpy torch numba llvmlite triton",
    "record": "numpy",
    "scale": "torch",
    "optim": "torch",
    "state": "torch safetensors xxhash tomli_w",
    "tasks": "polars narwhals numpy torch",
    "probes": "torch",
    "health": "numpy",
    "draw": "numpy",
    "loop": "torch numpy",
    "trials": "torch numpy",
    "landscape": "torch numpy",
    "tuning": "torch numpy",
    "jobs": "",
    "adapters": "sklearn transformers lightning torch",
    "cli": "cyclopts rich",
    "web": "starlette uvicorn",
    "__init__": "",
    "__main__": "",
}
"""Packages that are not Python's own, by the folder that may import them."""

LATE_DOORS = {
    ("__init__", "*"),
    ("__main__", "cli"),
    ("backends", "llvmlite"),
    ("backends", "numba"),
    ("backends", "triton"),
    ("cli", "jobs"),
    ("draw", "matplotlib"),
    ("draw", "rich"),
    ("tasks", "PIL"),
    ("tasks", "sklearn"),
    ("tasks", ""),  # a module that the user names
}
"""(folder, what it may import inside a function, and only there)."""

FLOOR = {folder: level for level, folders in enumerate(FLOORS) for folder in folders}


@dataclass(frozen=True)
class Import:
    """One import: the file and folder it stands in, its target's folder or package, and where."""

    file: str
    folder: str
    target: str
    is_inside: bool
    is_late: bool


def imports_of(file: str, text: str) -> Iterator[Import]:
    """Every import of a file, those by `import_module` included."""
    folder = Path(file).parts[0].removesuffix(".py")
    tree = ast.parse(text)
    late = {id(n) for f in ast.walk(tree) if is_function(f) for n in ast.walk(f)}
    for node in ast.walk(tree):
        for name in names_of(node):
            package, _, inner = name.partition(".")
            is_inside = package == "thalweg"
            target = (inner.partition(".")[0] or "__init__") if is_inside else package
            yield Import(file, folder, target, is_inside, id(node) in late)


def is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def names_of(node: ast.AST) -> list[str]:
    """Dotted names that a node imports; `from thalweg import x` is thalweg.x only for a folder."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        if node.module == "thalweg":
            return [f"thalweg.{a.name}" if a.name in FLOOR else "thalweg" for a in node.names]
        return [node.module or ""]
    if isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
        return ["".join(leading(node.args[0]))]
    return []


def called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def leading(node: ast.expr) -> Iterator[str]:
    """The constant text that a string or f-string begins with."""
    for part in node.values if isinstance(node, ast.JoinedStr) else [node]:
        if not isinstance(part, ast.Constant):
            return
        yield part.value


def violations(files: Mapping[str, str]) -> list[str]:
    """What breaks a floor, a line each: `file -> target: why`."""
    found = []
    for file, text in files.items():
        for row in imports_of(file, text):
            why = broken(row)
            if why:
                found.append(f"{row.file} -> {row.target}: {why}")
    return found


def broken(row: Import) -> str:
    """Why an import is not allowed; empty where it is."""
    if row.is_late:
        is_door = {(row.folder, row.target), (row.folder, "*")} & LATE_DOORS
        return "" if is_door else "imported inside a function"
    if not row.is_inside:
        known = {*sys.stdlib_module_names, *OUTSIDE[row.folder].split()}
        return "" if row.target in known else "not this folder's package"
    if row.target == "__init__":
        return "" if row.folder in FLOORS[-1] else "the face"
    if row.target not in FLOOR:
        return "stands on no floor"
    if row.target == row.folder or FLOOR[row.target] < FLOOR[row.folder]:
        return ""
    is_level = FLOOR[row.target] == FLOOR[row.folder]
    return "a folder of the same floor" if is_level else "a higher floor"


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8")
        for path in sorted(SOURCE.rglob("*.py"))
    }


def test_every_folder_stands_on_a_floor():
    folders = {Path(file).parts[0].removesuffix(".py") for file in sources()}
    assert folders <= FLOOR.keys()
    assert FLOOR.keys() == OUTSIDE.keys()


def test_nobody_breaks_a_floor():
    found = violations(sources())
    assert not found, "\n".join(found)


PLANTED = {
    "a higher floor": ("tasks/x.py", "from thalweg.loop.descent import descend"),
    "a folder of the same floor": ("tasks/x.py", "from thalweg import optim"),
    "the face": ("jobs/x.py", "from thalweg import __version__"),
    "the face, by its name": ("jobs/x.py", "import thalweg"),
    "a package": ("health/x.py", "import torch"),
    "a package of a package": ("rules/x.py", "from numpy.linalg import norm"),
    "inside a function": ("loop/x.py", "def f():\n    from thalweg.tasks.task import Task"),
    "inside a method": ("loop/x.py", "class C:\n    def f(self):\n        import torch"),
    "by its name at run time": ("loop/x.py", "def f():\n    importlib.import_module('torch')"),
    "for the types alone": ("rules/x.py", "if TYPE_CHECKING:\n    from thalweg.loop import step"),
    "a late package, early": ("draw/x.py", "import matplotlib"),
    "a wrong late door": ("cli/x.py", "def f(n):\n    import_module(f'thalweg.loop.{n}')"),
    "nowhere": ("jobs/x.py", "import thalweg.attic"),
}


@pytest.mark.parametrize(("file", "text"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_caught(file, text):
    assert len(violations({file: text})) == 1


ALLOWED = {
    "its own folder": ("loop/x.py", "from thalweg.loop.step import take_step"),
    "lower floors": ("loop/x.py", "from thalweg import guard, optim, schedules"),
    "the words": ("rules/x.py", "from thalweg.errors import UsageError"),
    "Python's own": ("rules/x.py", "import os.path"),
    "its package": ("loop/x.py", "import torch.nn"),
    "a late package": ("draw/x.py", "def f():\n    import matplotlib.pyplot as plt"),
    "a late door": ("cli/x.py", "def f(n):\n    import_module(f'thalweg.jobs.{n}')"),
}


@pytest.mark.parametrize(("file", "text"), ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed_passes(file, text):
    assert violations({file: text}) == []


HEAVY = ("torch", "numba", "sklearn", "matplotlib", "starlette", "polars", "numpy")

LIGHT = {
    "thalweg": HEAVY,
    "thalweg.rules": HEAVY,
    "thalweg.schedules": HEAVY,
    "thalweg.guard": HEAVY,
    "thalweg.health.verdict": ("torch", "sklearn", "polars"),
    "thalweg.jobs.report": ("torch", "sklearn", "polars"),
    "thalweg.jobs.runs": ("torch", "sklearn", "polars"),
    "thalweg.cli.main": HEAVY,
    "thalweg.draw.schedule": ("torch", "sklearn", "matplotlib"),
    "thalweg.loop.step": (),
}
"""Doors, and the packages that importing one must not load."""


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(python(code).split())


@pytest.mark.parametrize(("module", "packages"), LIGHT.items(), ids=LIGHT)
def test_a_light_door_stays_light(module, packages):
    loaded = loaded_by(module)
    assert loaded.isdisjoint(packages)
    if not packages:
        assert "torch" in loaded, "the comparison must be able to fail"


def test_rules_run_without_torch_and_numpy():
    code = """
import sys
sys.modules["torch"] = sys.modules["numpy"] = None
from thalweg.rules import RULES
from thalweg.rules.formula import compose

for rule in RULES.values():
    formula = compose(rule)
    hyper = {row.name: row.default for row in rule.hypers}
    _, values = formula.values(1.0, tuple(rule.first_scalars(hyper).values()), hyper)
    if rule.couples_tensors:
        values.append(1e-8)  # what it concludes from all tensors
    own = len(rule.update_program.inputs) - 2 - len(rule.states)
    states = [1.0 if rule.initial.get(name) == "p" else 0.0 for name in rule.states]
    made = rule.update(1.0, 0.5, *states, *values[:own])
    p, *state = made if isinstance(made, tuple) else [made]
    print(rule.name, p < 1.0, len(state) == len(rule.states))
"""
    lines = python(code).splitlines()
    assert len(lines) >= 5
    assert all(line.endswith("True True") for line in lines)


def test_public_names_resolve_and_are_declared():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    declared = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == {name: f"thalweg.{home}" for name, home in thalweg._HOMES.items()}
    assert set(thalweg.__all__) == {"__version__", *declared}

    for name, home in declared.items():
        assert getattr(thalweg, name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = thalweg.nothing  # pyright: ignore[reportAttributeAccessIssue]
