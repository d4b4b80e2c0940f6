"""Random damage to a checkpoint's files: every flipped bit and every lost end is found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from checkpoints import facts_of, signed, state_of
from thalweg.errors import RunError
from thalweg.state import checkpoint, manifest
from thalweg.state.checkpoint import STATE, TENSORS, read, write
from thalweg.state.manifest import MANIFEST, understood

FILES = (MANIFEST, STATE, TENSORS)

Damage = tuple[str, bytes, str]


@pytest.fixture
def folder(tmp_path) -> Path:
    tree = state_of(3, size=20) | {"flags": torch.tensor([True, False]), "empty": torch.empty(0)}
    return write(tmp_path, 3, tree, facts_of(3))


def damages(folder: Path, rounds: int) -> Iterator[Damage]:
    """A file, its damaged bytes, and what was done to it."""
    chance = random.Random(0)
    whole = {name: (folder / name).read_bytes() for name in FILES}
    for _ in range(rounds):
        name = chance.choice(FILES)
        raw = bytearray(whole[name])
        place = chance.randrange(len(raw))
        if chance.random() < 0.1:
            yield name, bytes(raw[:place]), f"{name} cut off at {place}"
        else:
            bit = chance.randrange(8)
            raw[place] ^= 1 << bit
            yield name, bytes(raw), f"{name} byte {place} bit {bit}"


def unnoticed(folder: Path, rounds: int) -> list[str]:
    """The damages with which the checkpoint is read all the same."""
    found = []
    for name, raw, what in damages(folder, rounds):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(raw)
        try:
            read(folder)
            found.append(what)
        except RunError as error:
            if not str(error).isprintable():
                found.append(f"{what}: {error}")
        (folder / name).write_bytes(whole)
    return found


@pytest.mark.parametrize("rounds", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_all_damage_is_found(rounds, folder):
    read(folder)
    assert unnoticed(folder, rounds) == []


@pytest.mark.parametrize("name", FILES)
def test_every_single_byte_counts(name, folder):
    """Not at random: each byte of each file, one bit of it."""
    whole = (folder / name).read_bytes()
    for place in range(len(whole)):
        raw = bytearray(whole)
        raw[place] ^= 1 << place % 8
        (folder / name).write_bytes(raw)
        with pytest.raises(RunError):
            read(folder)


def test_a_reader_that_compares_no_checksum_lets_some_through(folder, monkeypatch):
    """The exam can be failed, by a reader that trusts what can be parsed."""
    monkeypatch.setattr(checkpoint, "_compare", lambda *_: None)
    assert any(TENSORS in line for line in unnoticed(folder, 100))


def test_a_manifest_without_its_own_checksum_lets_some_through(folder, monkeypatch):
    def trusting(raw: bytearray) -> manifest.Manifest:
        body = raw[: raw.rindex(b"\n", 0, -1) + 1]
        return understood(signed(bytes(body)))

    monkeypatch.setattr(checkpoint, "understood", trusting)
    assert any(MANIFEST in line for line in unnoticed(folder, 300))
