"""Checkpoints on disk: what is written is read, the newest whole one, and nothing else stays."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as package

from checkpoints import facts_of, is_whole, names_in, reseal, seal, signed, state_of
from thalweg.errors import RunError, UsageError
from thalweg.state.checkpoint import STATE, TENSORS, clean, every, newest, read, verify, write
from thalweg.state.manifest import FORMAT, MANIFEST
from thalweg.state.shard import CODES
from thalweg.state.tree import pack
from trees import TREES, same


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_what_is_written_is_read(tree, tmp_path):
    path = write(tmp_path, 1234, tree, {"seed": 1})
    verify(path)
    saved = read(path)
    assert (path, saved.number) == (tmp_path / "step-00001234", 1234)
    assert same(saved.tree, tree)
    assert names_in(tmp_path) == ["step-00001234"]
    assert names_in(path) == sorted([MANIFEST, STATE, TENSORS])


FACTS = {"loss": float("nan"), "best": (1, 0.5), "names": {"a": [None, True]}, "größe": 10**30}


def test_facts_come_back(tmp_path):
    assert same(read(write(tmp_path, 0, {}, FACTS)).facts, FACTS)
    with pytest.raises(UsageError, match="'rng' is a tensor or bytes"):
        write(tmp_path, 1, {}, {"rng": b"x"})


LIBRARYS = {
    name: {key: t.resolve_conj().resolve_neg().contiguous() for key, t in tensors.items()}
    for name, tree in TREES.items()
    if (tensors := pack(tree).tensors)
}


@pytest.mark.parametrize("name", LIBRARYS)
def test_the_file_is_the_packages_own(name, tmp_path):
    """The tensors' file is to the byte the one that the safetensors package makes, and reads."""
    path = write(tmp_path, 1, TREES[name], {}) / TENSORS
    apart = {key: tensor.clone() for key, tensor in LIBRARYS[name].items()}
    assert path.read_bytes() == package.save(apart)
    if not any(tensor.dtype is torch.float8_e8m0fnu for tensor in apart.values()):  # only written
        assert package.load_file(path).keys() == apart.keys()


def test_every_dtype_of_the_package_is_held():
    left_out = {torch.float4_e2m1fn_x2}  # two in a byte: a shape of its own
    assert CODES.keys() == package._SIZE.keys() - left_out


def test_tensors_lie_as_torch_lays_them(tmp_path):
    """On 64-byte borders: kernels may round otherwise elsewhere."""
    tree = {str(i): torch.ones(i) for i in range(1, 40)}
    back = read(write(tmp_path, 1, tree, {})).tree
    assert all(tensor.data_ptr() % 64 == 0 for tensor in back.values())


NUMBERS = (-1, True, 1.0, "1", 10**18, None)


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_a_number_that_is_none_is_refused(number, tmp_path):
    with pytest.raises(UsageError, match="is an integer from 0 on"):
        write(tmp_path, number, {}, {})


def test_a_tree_that_cannot_be_saved_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="'a' is of type set"):
        write(tmp_path / "new", 1, {"a": {1}}, {})
    assert names_in(tmp_path) == []


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    for value in (1, 2):
        write(tmp_path, 7, {"x": torch.tensor(value)}, {})
    assert read(tmp_path / "step-00000007").tree["x"] == 2
    assert names_in(tmp_path) == ["step-00000007"]


UNWRITABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file in its place": (lambda root: root.write_text("x"), "File exists"),
    "a file above it": (lambda root: (root.rmdir(), root.parent.rmdir(), root.parent.touch()), ""),
}


@pytest.mark.parametrize(("plant", "said"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_place_that_cannot_be_written_is_named(plant, said, tmp_path):
    root = tmp_path / "run" / "checkpoints"
    root.mkdir(parents=True)
    shutil.rmtree(root) if said else None
    plant(root)
    with pytest.raises(UsageError, match=f"step-00000001 cannot be written: .*{said}") as caught:
        write(root, 1, {}, {})
    assert "\n" not in str(caught.value)


# A folder of several.


def fill(root: Path, *numbers: int) -> None:
    for number in numbers:
        write(root, number, state_of(number), facts_of(number))


def test_the_newest_comes_first(tmp_path):
    fill(tmp_path, 900, 100_000_000, 1000)
    names = ["step-100000000", "step-00001000", "step-00000900"]
    assert [path.name for path in every(tmp_path)] == names
    saved = newest(tmp_path, pytest.fail)
    assert saved is not None
    assert is_whole(saved)
    assert saved.number == 100_000_000


def test_no_folder_holds_no_checkpoint(tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        assert every(place) == []
        assert newest(place, pytest.fail) is None
        clean(place)


def change(name: str, new: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(new((folder / name).read_bytes()))

    return damage


def flip(raw: bytes) -> bytes:
    return raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:]


DAMAGE: dict[str, tuple[Callable[[Path], object], str, bool]] = {
    "a flipped bit in the tensors": (change(TENSORS, flip), "safetensors is damaged", True),
    "a flipped bit in the state": (change(STATE, flip), "state.json is damaged", True),
    "a flipped bit in the manifest": (change(MANIFEST, flip), "MANIFEST.json is damaged", False),
    "short tensors": (change(TENSORS, lambda raw: raw[:-1]), "bytes where", True),
    "a longer state": (change(STATE, lambda raw: raw + b" "), "bytes where", True),
    "an empty manifest": (change(MANIFEST, lambda raw: b""), "MANIFEST.json is damaged", False),
    "no tensors": (lambda folder: (folder / TENSORS).unlink(), "safetensors is missing", True),
    "no state": (lambda folder: (folder / STATE).unlink(), "state.json is missing", True),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "MANIFEST.json is missing", False),
}
"""How, what is said of it, and whether the manifest is still whole."""


@pytest.mark.parametrize(("damage", "said", "has_manifest"), DAMAGE.values(), ids=DAMAGE)
def test_the_one_before_a_damaged_one_is_taken(damage, said, has_manifest, tmp_path):
    fill(tmp_path, 1, 2)
    hurt = tmp_path / "step-00000002"
    damage(hurt)
    lines: list[str] = []
    saved = newest(tmp_path, lines.append)
    assert saved is not None
    assert saved.number == 1
    assert is_whole(saved)
    (line,) = lines
    assert line.startswith(f"left out: checkpoint {hurt} cannot be used: ")
    assert said in line
    assert line.isprintable()
    with pytest.raises(RunError, match=said):
        verify(hurt)
    assert (hurt in every(tmp_path)) == has_manifest
    clean(tmp_path)
    assert hurt.exists() == has_manifest


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a later format": (lambda f: seal(f, format=4, x=[1]), "format 4, written by thalweg '0.1.0'"),
    "a later one of other files": (lambda f: reseal(f, {"format": 3, "versions": {}}), "format 3"),
}


@pytest.mark.parametrize(("make", "said"), OTHERS.values(), ids=OTHERS)
def test_another_format_is_left_alone(make, said, tmp_path):
    fill(tmp_path, 1, 2)
    make(tmp_path / "step-00000002")
    lines: list[str] = []
    clean(tmp_path)
    saved = newest(tmp_path, lines.append)
    assert saved is not None
    assert saved.number == 1
    assert said in lines[0]
    assert f"reads format {FORMAT}" in lines[0]
    assert names_in(tmp_path) == ["step-00000001", "step-00000002"]


def test_the_last_line_of_a_manifest_is_the_checksum_of_the_rest(tmp_path):
    folder = write(tmp_path, 1, {}, {})
    raw = (folder / MANIFEST).read_bytes()
    values = json.loads(raw)
    assert list(values) == ["format", "versions", "files", "xxh3"]
    assert values["files"].keys() == {TENSORS, STATE}
    *body, _ = raw.splitlines(keepends=True)
    assert signed(b"".join(body)) == raw


# What interrupted saves leave.

LEFT: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "an empty unfinished folder": lambda root: (root / ".step-00000003.part").mkdir(),
    "a finished one without its name": lambda root: shutil.copytree(
        root / "step-00000002", root / ".step-00000003.part"
    ),
    "half of a deleted one": lambda root: (root / "step-00000001" / MANIFEST).unlink(),
    "a replaced one": lambda root: shutil.copytree(
        root / "step-00000002", root / ".step-00000002.old"
    ),
    "one about to be replaced": lambda root: (
        (root / "step-00000002").rename(root / ".step-00000002.old"),
        (root / ".step-00000002.part").mkdir(),
    ),
    "a link": lambda root: (root / ".step-00000003.part").symlink_to(root / "step-00000002"),
    "a file": lambda root: (root / ".step-00000003.part").write_text("x"),
    "folders in folders": lambda root: (root / ".step-00000003.part" / "a" / "b").mkdir(
        parents=True
    ),
}


@pytest.mark.parametrize("leave", LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("tidy", [clean, lambda root: fill(root, 3)], ids=["clean", "write"])
def test_what_was_left_is_deleted(tidy, leave, tmp_path):
    fill(tmp_path, 1, 2)
    leave(tmp_path)
    tidy(tmp_path)
    clean(tmp_path)
    assert not [name for name in names_in(tmp_path) if not name.startswith("step-")]
    assert names_in(tmp_path)[-1] in ("step-00000002", "step-00000003")
    for path in every(tmp_path):
        assert is_whole(read(path))
    assert tmp_path / "step-00000002" in every(tmp_path)


KEPT = (
    "notes.txt",
    ".hidden",
    "step-1",
    "step-000000001",
    "step-0000000x",
    ".step-00000001.partly",
    "best",
)


def test_what_is_not_ours_is_left_alone(tmp_path):
    fill(tmp_path, 1)
    for name in KEPT:
        (tmp_path / name).mkdir()
    (tmp_path / "step-00000009").symlink_to(tmp_path / "best")
    (tmp_path / "step-00000008").write_text("a file of someone's")
    clean(tmp_path)
    fill(tmp_path, 2)
    mine = ["step-00000001", "step-00000002", "step-00000008", "step-00000009"]
    assert names_in(tmp_path) == sorted([*KEPT, *mine])
    assert [path.name for path in every(tmp_path)] == mine[1::-1]


def test_a_folder_that_cannot_be_tidied_is_named(tmp_path, monkeypatch):
    def refuse(*_: Any) -> None:
        raise OSError(30, os.strerror(30))

    fill(tmp_path, 1)
    (tmp_path / ".step-00000002.part").mkdir()
    monkeypatch.setattr("thalweg.state.durable.os.rmdir", refuse)
    with pytest.raises(RunError, match="cannot be tidied up: Read-only file system"):
        clean(tmp_path)
