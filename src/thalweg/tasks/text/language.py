"""A study of a plain text: a model of its language, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from thalweg.errors import DataError
from thalweg.tasks.baselines import Scores
from thalweg.tasks.models.inputs import Tokens
from thalweg.tasks.objectives import OBJECTIVES
from thalweg.tasks.study import Study
from thalweg.tasks.table.asked import Parting
from thalweg.tasks.table.found import Found
from thalweg.tasks.table.parts import Parts
from thalweg.tasks.table.source import is_stored, name_of, parts_of
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.unpack import unpacked
from thalweg.tasks.text.ngrams import BYTES, bits_of
from thalweg.tasks.text.usual import CLIP
from thalweg.tasks.text.windows import BITS, Windows

LANGUAGE = "language"
CONTEXT, LEAST_CONTEXT = 128, 8
PREFERS = {
    "model": "transformer:128x4",
    "batch_size": 32,
    "steps": 2000,
    "lr": 3e-3,
    "clip": CLIP,
}
"""Minutes on two cores; two thousand batches of 32 windows are 8 MB of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """parting: the shares; validation, test: texts of their own instead; context: bytes that the
    model sees at once, None: by default
    """

    parting: Parting = field(default_factory=Parting)
    validation: Any = None
    test: Any = None
    context: int | None = None


def of_language(data: Any, asked: Asked) -> Study:
    """data: a path to a text, a folder of such, - for standard input, or bytes.

    The last share of the text tests and the one before it validates, so that no passage stands in
    two parts. Raises DataError for a text that is too short.
    """
    name, text = name_of(data), bytes_of(data)
    own = [None if given is None else bytes_of(given) for given in (asked.validation, asked.test)]
    train, validation, test = _parted(text, asked.parting, *own)
    length = _length(name, [train, validation, test], asked)
    sources = [
        Windows(_tensor(part), length, moves=i == 0)
        for i, part in enumerate((train, validation, test))
    ]
    counts = np.cumsum([0, *map(len, sources)])
    rows = Split(*(np.arange(counts[i], counts[i + 1]) for i in range(3)))
    return Study(
        name=name,
        kind=LANGUAGE,
        loss=replace(OBJECTIVES["cross_entropy"], metrics=()),
        metrics=BITS,
        train=sources[0],
        validation=sources[1],
        test=sources[2],
        rows=int(counts[-1]),
        num_features=length,
        baselines=_baselines(train, test, sources[2]),
        inputs=Tokens(num_tokens=BYTES, is_language=True, length=length),
        notices=tuple(_notices(name, text, (train, validation, test), length)),
        found=Found(Parts(rows, "position")),
        prefers=PREFERS,
    )


def bytes_of(data: Any) -> bytes:
    """All bytes of a text; of the files of a folder, in the order of their names, line by line."""
    if isinstance(data, bytes | bytearray):
        if not data:
            raise DataError("the data is empty: there is nothing to learn from")
        return bytes(data)
    if not isinstance(data, str) and not hasattr(data, "__fspath__"):
        raise DataError(
            f"data is a {type(data).__name__}: a language model learns from a path to a text, or "
            "from bytes"
        )
    return b"\n".join(unpacked(part)[0].whole() for part in parts_of(data))


def _parted(
    text: bytes, parting: Parting, validation: bytes | None, test: bytes | None
) -> tuple[bytes, bytes, bytes]:
    """Train, validation and test, by position, or as they were given."""
    num_test = 0 if test is not None else round(len(text) * parting.test_share)
    num_held = 0 if validation is not None else round(len(text) * parting.validation_share)
    end = len(text) - num_test
    held, last = text[end - num_held : end], text[end:]
    return text[: end - num_held], validation or held, test or last


def _length(name: str, parts: list[bytes], wish: Asked) -> int:
    """Bytes in a window. Raises DataError where a part holds none of that length."""
    most = min(len(parts[0]) // 2, *(len(part) - 1 for part in parts[1:]))
    asked, wanted = wish.context, wish.context or LEAST_CONTEXT
    held = {"validation": (wish.validation, parts[1]), "test": (wish.test, parts[2])}
    for what, (given, part) in held.items():
        if given is not None and len(part) <= wanted:
            source = f"{what} {given}" if is_stored(given) else f"the {what} data"
            raise DataError(
                f"{source} is too short: it holds {len(part):,} bytes, and a window needs "
                f"{wanted + 1:,}: give a longer text{', or a smaller context' if asked else ''}"
            )
    if most < wanted:
        sizes = ", ".join(f"{len(part):,}" for part in parts)
        raise DataError(
            f"{name} is too short: its parts to train, validate and test hold {sizes} bytes, and "
            f"windows of {wanted:,} need at least {2 * wanted:,}, {wanted + 1:,} and "
            f"{wanted + 1:,}: give a longer text{', or a smaller context' if asked else ''}"
        )
    return asked or min(CONTEXT, most)


def _tensor(text: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())


def _notices(name: str, text: bytes, parts: tuple[bytes, ...], length: int) -> list[str]:
    sizes = ", ".join(
        f"{len(part):,} {what}"
        for part, what in zip(parts, ("train", "validate", "test"), strict=True)
    )
    lines = [f"bytes by position, the last ones test: {sizes}; in windows of {length:,}"]
    decoded = text.decode("utf-8", errors="replace")
    num_bad = decoded.count("\ufffd") - text.count("\ufffd".encode())
    num_nuls = text.count(0)
    if num_bad:
        lines.append(f"{name} has {num_bad:,} places that are no UTF-8: learnt as bytes, as all is")
    if num_nuls:
        lines.append(f"{name} holds {num_nuls:,} NUL bytes: learnt as they stand")
    return lines


def _baselines(train: bytes, test: bytes, source: Windows) -> Callable[[int], dict[str, Scores]]:
    """Byte frequencies, pairs and triples of bytes, by the bits that they need for the test."""

    def score(seed: int) -> dict[str, Scores]:
        known, new = (np.frombuffer(part, dtype=np.uint8) for part in (train, test))
        commonest = int(np.bincount(known).argmax())
        share = float((new == commonest).mean())
        found = {
            "constant": {"label": "byte frequencies", **_bits(bits_of(known, new, 1), source)},
            "bigram": {"label": "pairs of bytes", **_bits(bits_of(known, new, 2), source)},
            "trigram": {"label": "triples of bytes", **_bits(bits_of(known, new, 3), source)},
        }
        found["constant"] |= {"commonest": chr(commonest), "commonest_share": share}
        return found

    return score


def _bits(value: float, source: Windows) -> Scores:
    return {"bits_per_character": value * source.bytes_per_character, "bits_per_byte": value}
