"""A power cut at every file operation of a save: nothing that was said to be safe is lost or torn.

Twice: over a real file system that forgets (FUSE; also with the ways of others, which must be seen
to fail), and everywhere over a mirror of the calls that a save makes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import lossyfs
from forgetful import MODELS, Forgetful, Model, dump, seen
from operations import Mirror, WatchedOs
from thalweg.state import durable
from ways_to_save import FAILURES, OTHERS, OURS, Way, verdict

MOST_CALLS = 400
"""More than any save makes: the exam comes to an end."""


@pytest.fixture(scope="module", autouse=True)
def no_power_is_cut() -> None:
    """Here it is: what is synced is what counts."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Path]:
    """A mounted file system that forgets."""
    why = lossyfs.unavailable()
    if why:
        pytest.skip(why)
    with lossyfs.mounted(tmp_path_factory.mktemp("forgetful")) as folder:
        yield folder


def cut_everywhere(way: Way, disk: Path, model: Model) -> list[str]:
    """Save 1, then cut the second save at its 1st, 2nd, ... call; last, cut when it is over.

    A line for each cut: what was wrong then, or nothing.
    """
    lines = []
    for nth in range(1, MOST_CALLS):
        folder = disk / f"{model}{nth}"
        folder.mkdir()
        durable.sync_folder(disk)
        way.save(folder, 1)

        lossyfs.order(disk, f"{model}_{nth}")
        acknowledged = 1 + saved(way, folder, 2)
        is_over = lossyfs.is_armed(disk)
        if is_over:
            lossyfs.order(disk, model)

        lines.append(verdict(way, folder, acknowledged))
        shutil.rmtree(folder)
        if is_over:
            return lines
    raise AssertionError("the save never got through")


def saved(way: Way, folder: Path, number: int) -> bool:
    """Does the way say that it saved? A cut may fail it, in whatever way."""
    try:
        way.save(folder, number)
    except FAILURES:
        return False
    return True


@pytest.mark.parametrize("model", ["A", "B"])
@pytest.mark.parametrize("name", OURS)
def test_a_cut_at_every_call_loses_nothing(name, model, disk):
    lines = cut_everywhere(OURS[name], disk, model)
    assert not any(lines), [f"call {i}: {line}" for i, line in enumerate(lines, 1) if line]
    assert len(lines) > 20


@pytest.mark.filterwarnings("ignore:torch.distributed is")
@pytest.mark.filterwarnings("ignore:.*TypedStorage is deprecated")
@pytest.mark.parametrize("name", OTHERS)
def test_the_ways_of_others_fail(name, disk):
    """The exam can be failed: what syncs too little is torn or lost at some call."""
    wrong = {model: cut_everywhere(OTHERS[name], disk, model) for model in ("A", "B")}
    print(name, {model: f"{sum(map(bool, w))} of {len(w)}" for model, w in wrong.items()})
    assert any(any(lines) for lines in wrong.values())


# Everywhere: the same over a mirror of the calls.


def mirrored(way: Way, folder: Path, monkeypatch) -> list[tuple[str, Model, int]]:
    """Two saves, and what is wrong had the power been cut after one of their calls."""
    (folder / "real").mkdir(parents=True)
    (folder / "left").mkdir()
    cuts, acknowledged, wrong = count(), 0, []

    def look(disk: Forgetful) -> None:
        number = next(cuts)
        for model in MODELS:
            place = folder / "left" / f"{number}{model}"
            place.mkdir()
            dump(disk.left(model), place)
            wrong.append((place, model, acknowledged))

    mirror = Mirror(folder / "real", look)
    monkeypatch.setattr(durable, "os", WatchedOs(mirror))
    for number in (1, 2):
        way.save(folder / "real", number)
        acknowledged = number
        look(mirror.disk)
    monkeypatch.undo()

    assert mirror.disk.tree() == seen(folder / "real"), "the mirror is true"
    said = [(verdict(way, place, safe), model, i) for i, (place, model, safe) in enumerate(wrong)]
    return [row for row in said if row[0]]


@pytest.mark.parametrize("name", OURS)
def test_a_cut_after_every_mirrored_call_loses_nothing(name, tmp_path, monkeypatch):
    assert mirrored(OURS[name], tmp_path, monkeypatch) == []


@pytest.mark.parametrize("function", ["write_file", "sync_folder"])
def test_a_sync_that_is_forgotten_is_found(function, tmp_path, monkeypatch):
    """The mirror can be failed as well: without one kind of sync something is lost."""
    plain = getattr(durable, function)

    def without_fsync(*arguments):
        real = durable.os
        durable.os = Unsynced(real)
        try:
            return plain(*arguments)
        finally:
            durable.os = real

    monkeypatch.setattr(durable, function, without_fsync)
    found = mirrored(OURS["a new step"], tmp_path, monkeypatch)
    assert any(line.startswith("lost") for line, *_ in found)


class Unsynced:
    """A module `os` whose fsync does nothing."""

    def __init__(self, real):
        self._real = real

    def fsync(self, descriptor: int) -> None:
        pass

    def __getattr__(self, name: str):
        return getattr(self._real, name)
