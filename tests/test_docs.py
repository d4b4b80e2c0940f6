"""The docs say what is true: generated pages are fresh, and the README's examples run."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

from thalweg.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("thalweg ")
]


def _build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = load_wine(as_frame=True).frame.rename(columns={"target": "kind"})
    frame.to_csv("wine.csv", index=False)
    return tmp_path


def test_generated_pages_are_fresh():
    build = _build()
    assert build.DEFAULTS.read_text(encoding="utf-8") == build.defaults_page()
    assert build.readme_with_map(README) == README


def test_a_stale_map_is_noticed():
    build = _build()
    assert build.readme_with_map(README.replace("One training step", "One stale step")) == README


def test_the_map_names_every_folder():
    build = _build()
    folders = {path.parent.name for path in build.PACKAGE.rglob("*.py")} - {"thalweg"}
    assert folders == {folder for folder, _ in build.FOLDERS if folder}


def test_python_examples_run(wine, capsys):
    assert len(PYTHON) == 4
    names: dict = {}
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert printed.startswith(("finished: ", "improving: "))
    assert names["descent"].ending.reason == printed.splitlines()[-1]


def test_commands_run(wine, capsys):
    assert len(COMMANDS) == 4
    for line in COMMANDS:
        assert main(shlex.split(line)[1:]) == 0
    assert (wine / "predictions.csv").is_file()


def test_files_that_the_readme_points_to_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
