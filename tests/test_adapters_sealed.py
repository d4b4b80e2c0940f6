"""The folder that a callback writes: sealed once the training has ended, however it did."""

from __future__ import annotations

import json

import pytest

from adapter_kit import PACKAGES, TOOLS, Tool, points
from thalweg.adapters.session import Session
from thalweg.cli.main import main
from thalweg.jobs.runs import list_runs
from thalweg.record import read
from thalweg.state.folder import MANIFEST, Folder

FILES = {"record.sqlite", "run.toml", "verdict.json"}


@pytest.fixture(params=TOOLS)
def tool(request, tmp_path):
    pytest.importorskip(PACKAGES[request.param], reason="it comes with an extra of its own")
    return Tool(request.param, tmp_path)


def is_sealed(tool: Tool) -> bool:
    folder = Folder(tool.folder / "run")
    if not folder.is_finished:
        return False
    sealed = json.loads((folder.path / MANIFEST).read_text())["files"]
    assert set(sealed) == FILES
    for name in FILES:
        folder.check(name)
    return True


def row_of(tool: Tool) -> dict:
    return next(row for row in list_runs(str(tool.folder))["runs"] if row["name"] == "run")


def looking(tool: Tool, seen: list[bool]):
    """Rows that look, each time that one is read, whether the folder is sealed."""

    class Looking(tool.rows):
        def __getitem__(self, i):
            seen.append((tool.folder / "run" / MANIFEST).exists())
            return super().__getitem__(i)

    return Looking(*points())


def test_a_training_that_ends_in_order(tool, capsys):
    seen: list[bool] = []
    tool.train(tool.watch(), rows=looking(tool, seen))
    assert seen
    assert not any(seen)
    assert is_sealed(tool)
    assert row_of(tool)["state"] == "finished"
    assert row_of(tool)["optimizer"] == "adamw"
    run = str(tool.folder / "run")
    assert main(["diagnose", run]) == 0
    assert main(["report", run]) == 0
    assert main(["report", run]) == 0, "its page is sealed anew"
    capsys.readouterr()
    assert main(["resume", run]) == 5
    assert f"in another tool's loop ({tool.name})" in capsys.readouterr().err


def test_a_training_that_fails(tool):
    with pytest.raises(KeyError):
        tool.train(tool.watch(), rows=tool.rows(*points(), fails=7))
    assert is_sealed(tool)
    assert row_of(tool)["state"] not in ("unfinished", "damaged")


def test_a_training_that_the_guard_stops(tool, monkeypatch):
    monkeypatch.setattr(Session, "is_stopped", property(lambda session: session.number >= 5))
    tool.train(tool.watch(guard="act"))
    assert is_sealed(tool)
    assert read(tool.folder / "run").steps["number"][-1] == 5


def test_an_end_that_cannot_be_judged_is_unknown(tool, monkeypatch):
    def fails(session):
        raise ZeroDivisionError("for a test")

    monkeypatch.setattr(Session, "verdict", fails)
    callback = tool.watch()
    tool.train(callback)
    assert is_sealed(tool)
    assert row_of(tool)["state"] == callback.verdict.state == "unknown"


def test_a_change_afterwards_is_seen(tool):
    tool.train(tool.watch())
    with (tool.folder / "run" / "record.sqlite").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff" * 8)
    assert main(["report", str(tool.folder / "run")]) == 5
