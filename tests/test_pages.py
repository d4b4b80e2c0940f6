"""The pages on tables, own tasks and fine-tuning: their commands and programs run, in small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from sklearn.datasets import load_wine

import thalweg
from thalweg.cli.main import main

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands_of(page: str) -> list[str]:
    return [line for block in blocks_of(page, "sh") for line in block.splitlines()]


def run_quickly(line: str) -> None:
    """The command, of which a budget of steps is cut."""
    words = shlex.split(line)[1:]
    if "--epochs" not in words and "--steps" not in words:
        words += ["--epochs", "8"]
    if "--steps" in words:
        words[words.index("--steps") + 1] = "12"
    assert main([*words, "--quiet"]) == 0


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frame = load_wine(as_frame=True).frame.rename(columns={"target": "kind"})
    frame.to_csv("wine.csv", index=False)
    return tmp_path


@pytest.mark.parametrize(("page", "count"), [("tables.md", 3), ("fine_tuning.md", 3)])
def test_the_commands_of_a_page_run(page, count, here):
    lines = commands_of(page)
    assert len(lines) == count
    for line in lines:
        run_quickly(line)


def test_the_tasks_of_the_page_run_and_are_loaded(here):
    programs, lines = blocks_of("own_tasks.md", "python"), commands_of("own_tasks.md")
    assert len(programs) == len(lines) == 4
    for program, line in zip(programs, lines, strict=True):
        name = program.partition("\n")[0].removeprefix("# ")
        Path(name).write_text(program)
        run_quickly(line)
        run = thalweg.load(f"runs/{Path(name).stem}")
        assert run.result["steps"] == 12
    names = run.record.scalars.keys()
    assert names == {"critic", "generator"}
