"""Checkpoints made by an enemy are refused: in one line, nothing run, nothing outside touched."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import hostile_reader
from hostile import HOSTILE, PICKLES, good
from thalweg.errors import RunError
from thalweg.state.checkpoint import newest, read, write

HANG = 240
"""Seconds after which a reader is taken to hang; each refusal takes some milliseconds."""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """What came of reading each hostile checkpoint, by its name; "good" is one that is none."""
    top = tmp_path_factory.mktemp("hostile")
    folders = {"good": good(top / "good")}
    for i, (name, make) in enumerate(HOSTILE.items()):
        root, outside = top / str(i), top / str(i) / "outside"
        folders[name] = good(root)
        outside.mkdir()
        for file in folders[name].iterdir():
            shutil.copy(file, outside)
        make(folders[name], outside)
        made = list(root.glob("step-*"))
        folders[name] = made[0] if made else folders[name]
    return dict(zip(folders, looked([str(path) for path in folders.values()], top), strict=True))


def looked(folders: list[str], place: Path) -> list[dict[str, Any]]:
    output = python([hostile_reader.__file__], input=json.dumps(folders), cwd=place)
    return [json.loads(line) for line in output.splitlines()]


def python(arguments: list[str], **options: Any) -> str:
    """What a fresh interpreter prints."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        timeout=HANG,
        check=False,
        **options,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-1000:]
    return done.stdout


def test_a_good_one_is_read(found):
    """The reader does read, and the watch does not take reading for an attack."""
    assert found["good"]["outcome"] == "read"
    assert found["good"]["events"] == "[]"


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused(name, found):
    what = found[name]
    assert what["outcome"] == "refused", what["text"]
    assert what["events"] == "[]", "nothing is run, and nothing outside is opened"
    assert what["text"].startswith("checkpoint ")
    assert " cannot be used: " in what["text"]
    assert what["text"].isprintable(), "one line, whatever is in it"
    assert len(what["text"]) < 1000


def test_how_long_it_took(found):
    """Shown, not asserted: the machine may be busy."""
    slowest = max(found, key=lambda name: found[name]["seconds"])
    print(f"{len(HOSTILE)} refusals, the slowest: {slowest}, {found[slowest]['seconds']:.3f} s")


@pytest.mark.parametrize("name", PICKLES)
def test_the_pickles_do_bite(name, tmp_path, monkeypatch):
    """What the table puts into the slots does harm where it is unpickled."""
    monkeypatch.chdir(tmp_path)
    if name == "torch.save":
        (tmp_path / "x.pt").write_bytes(PICKLES[name])
        torch.load("x.pt", weights_only=False)
    else:
        pickle.loads(PICKLES[name])
    assert (tmp_path / "touched-by-a-pickle").is_dir()


WATCHED = {
    "a pickle": "pickle.loads(pickle.dumps(len))",
    "code": "exec('1')",
    "a command": "os.system('true')",
    "a file outside": "open('/etc/passwd').close()",
    "a file written": "open(path + '/x', 'w').close()",
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, str]:
    """What the watch sees where code that does harm stands in the place of `read`."""
    code = f"""
import json, os, pickle, sys
import hostile_reader as reader

def seen(code):
    names = {{"os": os, "pickle": pickle}}
    reader.read = lambda path: exec(compiled[code], names | {{"path": str(path)}})
    return reader.look({str(tmp_path_factory.mktemp("watched"))!r})["events"]

codes = {WATCHED!r}
compiled = {{code: compile(code, "harm", "exec") for code in codes.values()}}
sys.addaudithook(reader.watch)
print(json.dumps({{name: seen(code) for name, code in codes.items()}}))
"""
    done = python(["-c", code])
    return json.loads(done)


SIGNS = {
    "a pickle": "pickle.find_class",
    "code": "compile",
    "a command": "os.system",
    "a file outside": "/etc/passwd",
    "a file written": "'w'",
}


@pytest.mark.parametrize("name", WATCHED)
def test_the_watch_sees_what_it_should(name, seen):
    assert SIGNS[name] in seen[name]


def test_the_one_before_a_hostile_one_is_taken(tmp_path):
    for number in (5, 6):
        write(tmp_path, number, {"x": torch.ones(1)}, {})
    hostile = good(tmp_path)
    HOSTILE["a foreign kind"](hostile, tmp_path)
    lines: list[str] = []
    saved = newest(tmp_path, lines.append)
    assert saved is not None
    assert saved.number == 6
    assert len(lines) == 1
    with pytest.raises(RunError):
        read(hostile)
