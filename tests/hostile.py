"""Checkpoints made by an enemy: each with right checksums, and one thing in it that is not right.

A row changes a good checkpoint `step-00000007`; `outside` is a folder that it must not get at.
"""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from checkpoints import reseal, seal, signed
from thalweg.state.checkpoint import STATE, TENSORS, write
from thalweg.state.manifest import MANIFEST

Make = Callable[[Path, Path], object]


class Evil:
    """Unpickled, it makes a file."""

    def __reduce__(self):
        return os.mkdir, ("touched-by-a-pickle",)


def zipped() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(1), "evil": Evil()}, buffer)
    return buffer.getvalue()


PICKLES = {"a pickle": pickle.dumps(Evil()), "torch.save": zipped()}


def put(name: str, raw: bytes) -> Make:
    """Other bytes for a file."""

    def make(folder: Path, outside: Path) -> None:
        (folder / name).write_bytes(raw)
        if name != MANIFEST:
            seal(folder)

    return make


def state(change: Callable[[Any], Any] | dict[str, Any]) -> Make:
    """Another state.json: its values changed, or some of them replaced."""

    def make(folder: Path, outside: Path) -> None:
        values = json.loads((folder / STATE).read_text())
        changed = change(values) if callable(change) else values | change
        (folder / STATE).write_text(json.dumps(values if changed is None else changed))
        seal(folder)

    return make


def text(old: str, new: str) -> Make:
    """A piece of state.json's text replaced."""

    def make(folder: Path, outside: Path) -> None:
        whole = (folder / STATE).read_text()
        assert old in whole, "the change must hit"
        (folder / STATE).write_text(whole.replace(old, new))
        seal(folder)

    return make


def tree(structure: Any, **more: Any) -> Make:
    """Another tree; tensors and aliases stay as they are."""
    return state({"tree": structure} | more)


def part(*row: Any) -> Make:
    """Another place for the tensor `w`."""
    return state(lambda values: values["tensors"].update(w=list(row)))


def manifest(change: Callable[[Any], Any]) -> Make:
    """A manifest of other values, with the right last line."""

    def make(folder: Path, outside: Path) -> None:
        values = json.loads((folder / MANIFEST).read_bytes())
        change(values)
        reseal(folder, values)

    return make


def listed(name: str | None, row: Any = None) -> Make:
    """A manifest that lists another file as well, or has another row for all."""

    def change(values: Any) -> None:
        if name is None:
            values["files"] = dict.fromkeys(values["files"], row)
        else:
            values["files"][name] = row or values["files"][STATE]

    return manifest(change)


def body(raw: bytes) -> Make:
    """A manifest of any bytes, with the right last line."""
    return put(MANIFEST, signed(raw))


def header(change: Callable[[Any], Any], data: bytes | None = None) -> Make:
    """Another header of the tensors, the data after it as they were or others."""

    def make(folder: Path, outside: Path) -> None:
        raw = (folder / TENSORS).read_bytes()
        length = int.from_bytes(raw[:8], "little")
        values = json.loads(raw[8 : 8 + length])
        changed = change(values)
        new = changed if isinstance(changed, bytes) else json.dumps(values).encode()
        new += b" " * (-len(new) % 8)
        after = raw[8 + length :] if data is None else data
        (folder / TENSORS).write_bytes(len(new).to_bytes(8, "little") + new + after)
        seal(folder)

    return make


def entry(**changes: Any) -> Make:
    """Another entry for the tensor `w`, which has 4 numbers of 4 bytes, the first in the file."""
    return header(lambda values: values["w"].update(changes))


def length(number: int) -> Make:
    """Another length of the header."""

    def make(folder: Path, outside: Path) -> None:
        raw = (folder / TENSORS).read_bytes()
        put(TENSORS, number.to_bytes(8, "little") + raw[8:])(folder, outside)

    return make


def linked(name: str) -> Make:
    """A file outside, good in itself, behind a link."""

    def make(folder: Path, outside: Path) -> None:
        (folder / name).rename(outside / name)
        (folder / name).symlink_to(outside / name)

    return make


def replaced(name: str, put_there: Callable[[Path], object]) -> Make:
    """Something else in the place of a file; the manifest still lists the file."""

    def make(folder: Path, outside: Path) -> None:
        (folder / name).unlink()
        put_there(folder / name)

    return make


def whole_linked(folder: Path, outside: Path) -> None:
    """The good folder, outside, behind a link."""
    folder.rename(outside / folder.name)
    folder.symlink_to(outside / folder.name)


def instead(put_there: Callable[[Path], object]) -> Make:
    """Something else in the place of the folder."""

    def make(folder: Path, outside: Path) -> None:
        folder.rename(outside / "moved")
        put_there(folder)

    return make


def sparse(name: str, size: int) -> Make:
    """A file that says it is huge, and is in the manifest with that size."""

    def make(folder: Path, outside: Path) -> None:
        os.truncate(folder / name, size)
        manifest(lambda values: values["files"][name].update(size=size))(folder, outside)

    return make


def renamed(name: str) -> Make:
    return lambda folder, outside: folder.rename(folder.parent / name)


def twice(values: Any) -> bytes:
    """A header with one name twice: the second entry takes the place of nothing."""
    one = json.dumps(values["w"])
    rest = json.dumps({name: value for name, value in values.items() if name != "w"})
    return f'{{"w": {one}, "w": {one}, {rest[1:]}'.encode()


def deep(kind: str, levels: int) -> str:
    ends = {"list": ("[", "]"), "dict": ('{"dict":{"a":', "}}")}[kind]
    return ends[0] * levels + "0" + ends[1] * levels


W = {"tensor": "w"}
REST = {"x": {"tensor": "x"}, "tied": {"tensor": "tied"}, "raw": {"bytes": "raw"}}
NAN, INFINITY = float("nan"), float("inf")
FILES = (STATE, TENSORS, MANIFEST)


def good(root: Path) -> Path:
    """A checkpoint with something in every slot; the tensors lie as w, x, raw."""
    w = torch.arange(4.0)
    return write(root, 7, {"w": w, "x": w + 1, "tied": w, "raw": b"raw", "lr": 0.5}, {"seed": 0})


IN_SLOTS: dict[str, Make] = {
    **{f"{kind} as {name}": put(name, raw) for kind, raw in PICKLES.items() for name in FILES},
    "a pickle signed as a manifest": body(PICKLES["a pickle"]),
    "a pickle after the header": header(lambda values: None, PICKLES["a pickle"]),
}
"""A pickle for each slot."""

IN_THE_MANIFEST: dict[str, Make] = {
    "a file outside": listed("../outside/state.json"),
    "a file in a folder": listed("a/../../outside/state.json"),
    "an absolute path": listed("/etc/passwd"),
    "an extra file": listed("code.py"),
    "a name with a line break": listed("a\nb\x1b[31m"),
    "a file less": manifest(lambda values: values["files"].pop(STATE)),
    "no files": manifest(lambda values: values.update(files={})),
    "a list of files": manifest(lambda values: values.update(files=[STATE, TENSORS])),
    "an unknown key": manifest(lambda values: values.update(run="x")),
    "a size that is no number": listed(None, {"size": NAN, "xxh3": "0" * 16}),
    "a size that is text": listed(None, {"size": "12", "xxh3": "0" * 16}),
    "a size below zero": listed(None, {"size": -1, "xxh3": "0" * 16}),
    "a size of True": listed(None, {"size": True, "xxh3": "0" * 16}),
    "a huge size": listed(None, {"size": 10**400, "xxh3": "0" * 16}),
    "a size of 2**62": listed(None, {"size": 2**62, "xxh3": "0" * 16}),
    "a checksum that is a number": listed(None, {"size": 1, "xxh3": 0}),
    "a checksum in capitals": listed(None, {"size": 1, "xxh3": "A" * 16}),
    "a row with more": listed(None, {"size": 1, "xxh3": "0" * 16, "url": "x"}),
    "a format that is text": manifest(lambda values: values.update(format="1")),
    "a format of True": manifest(lambda values: values.update(format=True)),
    "a huge format": manifest(lambda values: values.update(format=10**4000)),
    "a later format": manifest(lambda values: values.update(format=3)),
    "an evil version": manifest(
        lambda values: values.update(format=3, versions={"thalweg": "\x1b[2J\n" * 99})
    ),
    "no format": manifest(lambda values: values.pop("format")),
    "versions that are none": manifest(lambda values: values.update(versions={"torch": 2})),
    "a deep manifest": body(b'{"format": 2, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b",\n"),
    "a key twice in the manifest": body(
        b'{"format": 2, "format": 2, "versions": {}, "files": {},\n'
    ),
    "a manifest that is a list": body(b"[1,\n"),
    "an empty manifest": put(MANIFEST, b""),
    "a large manifest": put(MANIFEST, signed(b" " * (1 << 21))),
}

IN_THE_FOLDER: dict[str, Make] = {
    "a linked folder": whole_linked,
    "a folder that is a file": instead(lambda path: path.write_text("x")),
    "a folder that is a pipe": instead(os.mkfifo),
    "no folder": instead(lambda path: None),
    "an empty folder": instead(os.mkdir),
    "another name": renamed("step-7"),
    "another number": renamed("step-00000008"),
    "a number with a zero more": renamed("step-000000007"),
    "a number in other digits": renamed("step-０００００００７"),  # noqa: RUF001
    **{f"{name} as a link": linked(name) for name in FILES},
    **{f"{name} as a pipe": replaced(name, os.mkfifo) for name in FILES},
    **{f"{name} as a folder": replaced(name, os.mkdir) for name in FILES},
    **{f"no {name}": replaced(name, lambda path: None) for name in FILES},
    "a link in a circle": replaced(STATE, lambda path: path.symlink_to(path)),
    "a link to a device": replaced(STATE, lambda path: path.symlink_to("/dev/zero")),
    "a state of 1 TiB": sparse(STATE, 1 << 40),
    "tensors of 1 TiB": sparse(TENSORS, 1 << 40),
}

IN_THE_STATE: dict[str, Make] = {
    "an unknown key of the state": state({"code": "import os"}),
    "no tree": state(lambda values: values.pop("tree") and None),
    "a state that is a list": state(lambda values: [values]),
    "the number as text": state({"number": "7"}),
    "the number as a fraction": state({"number": 7.0}),
    "another step": state({"number": 8}),
    "NaN": text('"number":7', '"number":NaN'),
    "Infinity in the tree": text('"lr":0.5', '"lr":-Infinity'),
    "a number without end": text('"lr":0.5', '"lr":1e999'),
    "a large integer": text('"lr":0.5', f'"lr":{2**70}'),
    "an integer of 5,000 digits": text('"lr":0.5', f'"lr":1{"0" * 5000}'),
    "an integer of a million digits": text('"lr":0.5', f'"lr":1{"0" * 1_000_000}'),
    "a key twice": text('"lr":0.5', '"lr":0.5,"lr":0.5'),
    "deep lists": text('"lr":0.5', f'"lr":{deep("list", 100_000)}'),
    "deep dicts": text('"lr":0.5', f'"lr":{deep("dict", 100_000)}'),
    "lists as deep as JSON goes": text('"lr":0.5', f'"lr":{deep("list", 300)}'),
    "bytes that are no text": put(STATE, b'{"number": 7, "\xff": 1}'),
    "a byte order mark": put(STATE, b"\xef\xbb\xbf{}"),
    "another encoding": put(STATE, '{"number": 7}'.encode("utf-16")),
    "half a pair": text('"lr":0.5', '"lr":{"tensor":"\\ud800"}'),
    "no object": put(STATE, b"null"),
    "an empty state": put(STATE, b""),
    "more after the end": put(STATE, b"{} {}"),
    "a part outside": part(["../outside/tensors.safetensors", [0], [4]]),
    "a part at an absolute path": part(["/etc/passwd", [0], [4]]),
    "a part elsewhere in the tensor": part([TENSORS, [1], [4]]),
    "two parts": part([TENSORS, [0], [2]], [TENSORS, [2], [2]]),
    "no part": part(),
    "a part of another shape": part([TENSORS, [0], [5]]),
    "a part that is text": part(TENSORS),
    "a part with a fraction": part([TENSORS, [0.0], [4]]),
    "a part with truth": part([TENSORS, [False], [4]]),
    "a tensor that has no place": state(lambda values: values["tensors"].pop("w") and None),
    "a place without a tensor": state(lambda v: v["tensors"].update(y=[[TENSORS, [0], [4]]])),
    "aliases in a circle": state({"aliases": {"tied": "again", "again": "tied"}}),
    "an alias of itself": state({"aliases": {"tied": "tied"}}),
    "an alias of nothing": state({"aliases": {"tied": "nothing"}}),
    "an alias of a list": state({"aliases": {"tied": ["w"]}}),
    "an alias with a tensor's name": state({"aliases": {"tied": "w", "x": "w"}}),
    "a list of aliases": state({"aliases": [["tied", "w"]]}),
    "a tensor asked for twice": tree({"dict": {"again": W, "w": W, **REST}}),
    "a tensor nobody asks for": tree({"dict": REST}),
    "a tensor that is not there": tree({"dict": {"y": {"tensor": "y"}, "w": W, **REST}}),
    "a foreign kind": tree({"dict": {"evil": {"object": "os.system"}, "w": W, **REST}}),
    "a kind with more": tree({"dict": {"w": W | {"code": "x"}, **REST}}),
    "an order with a huge dimension": tree({"dict": {"w": W | {"order": [2**62]}, **REST}}),
    "an order of lists": tree({"dict": {"w": W | {"order": [[0]]}, **REST}}),
    "bytes that are numbers": tree({"dict": {"w": {"bytes": "w"}, **REST}}),
    "keys that collide": tree({"pairs": [[1, W], [1, 2], ["rest", {"dict": REST}]]}),
    "a key that is a list": tree({"pairs": [[[1], W], ["rest", {"dict": REST}]]}),
    "facts that are a list": state({"facts": []}),
    "facts with a tensor": state({"facts": {"dict": {"w": W}}}),
    "no facts": state({"facts": None}),
}

IN_THE_TENSORS: dict[str, Make] = {
    "a header of 2**63 bytes": length(1 << 63),
    "a header of 2**64 - 1 bytes": length((1 << 64) - 1),
    "a header longer than the file": length(1 << 20),
    "a header of 1 byte": length(1),
    "no header": length(0),
    "an empty file": put(TENSORS, b""),
    "seven bytes": put(TENSORS, b"\x00" * 7),
    "overlapping tensors": header(lambda v: v["x"].update(data_offsets=[8, 24])),
    "one place for two tensors": header(lambda v: v["x"].update(data_offsets=[0, 16])),
    "a gap": entry(data_offsets=[4, 20]),
    "places beyond the end": entry(data_offsets=[1 << 40, (1 << 40) + 16]),
    "places below zero": entry(data_offsets=[-16, 0]),
    "places backwards": entry(data_offsets=[16, 0]),
    "places with fractions": entry(data_offsets=[0.0, 16.0]),
    "places without end": entry(data_offsets=[0, INFINITY]),
    "three places": entry(data_offsets=[0, 16, 32]),
    "bytes after the last tensor": header(lambda values: None, b"\0" * 4096),
    "too few bytes": header(lambda values: None, b"\0" * 8),
    "a foreign dtype": entry(dtype="PICKLE"),
    "a dtype of two in a byte": entry(dtype="F4", shape=[32]),
    "a dtype that is a list": entry(dtype=["F32"]),
    "a shape below zero": entry(shape=[-2, -2]),
    "a shape of text": entry(shape="4"),
    "a shape with truth": entry(shape=[4, True]),
    "another shape": entry(shape=[2, 2]),
    "a huge shape": entry(shape=[1 << 62, 4]),
    "a shape that overflows": entry(shape=[1 << 32, 1 << 32, 0], data_offsets=[0, 0]),
    "too many dimensions": entry(shape=[4, *[1] * 70]),
    "metadata": header(lambda values: values.update(__metadata__={"format": "pt"})),
    "an entry with more": entry(code="x"),
    "an entry that is a list": header(lambda values: values.update(w=[0, 16])),
    "a tensor twice in the header": header(twice),
    "a header that is a list": header(lambda values: b"[]      "),
    "a deep header": header(lambda values: b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a misaligned tensor": header(
        lambda values: values.update(
            raw=values["raw"] | {"data_offsets": [0, 3]},
            w=values["w"] | {"data_offsets": [3, 19]},
            x=values["x"] | {"data_offsets": [19, 35]},
        )
    ),
}

HOSTILE = IN_SLOTS | IN_THE_MANIFEST | IN_THE_FOLDER | IN_THE_STATE | IN_THE_TENSORS
