"""From a model's name to the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from thalweg.errors import UsageError
from thalweg.tasks.models.bag import Bag
from thalweg.tasks.models.columns import Columns
from thalweg.tasks.models.conv import conv
from thalweg.tasks.models.inputs import Inputs, Pictures, Rows, Tokens, arguments_of
from thalweg.tasks.models.mlp import mlp
from thalweg.tasks.models.own import made
from thalweg.tasks.models.resmlp import ResidualMLP
from thalweg.tasks.models.sizes import sized
from thalweg.tasks.models.spelling import Spelling, parsed
from thalweg.tasks.models.transformer import Transformer

HEAD = 32
"""Width of an attention head, where the number of heads is not given."""

LEAST_WIDTH = 8
"""Narrower convolutions stay channels first: with channels last and a stride of 2 the backward pass
of torch 2.13 writes beyond its memory on a CPU.
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model.

    reads: what goes into it; has_dropout: is there a place for it?
    writes: can it tell the next token at every place?
    make(spelling, inputs, num_outputs, dropout)
    """

    reads: type
    make: Callable[[Spelling, Any, int, float], nn.Module]
    has_dropout: bool = True
    writes: bool = False

    def fits(self, inputs: Inputs) -> bool:
        """Can it read these?"""
        is_language = isinstance(inputs, Tokens) and inputs.is_language
        return isinstance(inputs, self.reads) and (self.writes or not is_language)


def build(
    name: str, inputs: Inputs, num_outputs: int, *, seed: int, dropout: float = 0.0
) -> nn.Module:
    """The model called `name` for these inputs.

    Its first weights are a function of the seed; torch's generator is left as it was.
    Raises UsageError for an unknown name, a model that does not read such inputs, has no place for
    dropout or is too large, or a function of the user's own that fails.
    """
    spelling = sized(parsed(name), inputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spelling.kind == "own":
            known = {"num_outputs": num_outputs, "dropout": dropout}
            return made(name, {**arguments_of(inputs), **known})
        kind = KINDS[spelling.kind]
        _check(spelling, kind, inputs, dropout)
        try:
            return kind.make(spelling, inputs, num_outputs, dropout)
        except (RuntimeError, OverflowError):
            raise UsageError(
                f"model {name!r} does not fit into memory: take smaller widths"
            ) from None


def reads_tables(name: str) -> bool:
    """Is it a model for rows of a table? One of the user's own may be."""
    kind = KINDS.get(parsed(name).kind)
    return kind is None or kind.reads is Rows


def _check(spelling: Spelling, kind: Kind, inputs: Inputs, dropout: float) -> None:
    """Raise UsageError where model and inputs, or model and dropout, do not go together."""
    if not kind.fits(inputs):
        names = ", ".join(name for name, row in KINDS.items() if row.fits(inputs))
        why = f"reads {kind.reads.words}, and these are {inputs.words}"
        if isinstance(inputs, kind.reads):
            why = "predicts one thing of a text, and here the next token is asked for"
        raise UsageError(f"model {spelling.name!r} {why}: take one of {names}")
    if dropout and not kind.has_dropout:
        names = ", ".join(
            name for name, row in KINDS.items() if row.has_dropout and row.reads is kind.reads
        )
        raise UsageError(
            f"dropout is {dropout:g}, and model {spelling.name!r} has no place for it: leave it "
            f"out, or take one of {names}"
        )


def _linear(spelling: Spelling, rows: Rows, num_outputs: int, dropout: float) -> nn.Module:
    return nn.Linear(rows.num_inputs, num_outputs)


def _mlp(spelling: Spelling, rows: Rows, num_outputs: int, dropout: float) -> nn.Module:
    first = _columns(spelling, rows)
    if first is None:
        return mlp(rows.num_inputs, spelling.widths, num_outputs, dropout=dropout)
    return nn.Sequential(
        first, mlp(first.num_outputs, spelling.widths, num_outputs, dropout=dropout)
    )


def _resmlp(spelling: Spelling, rows: Rows, num_outputs: int, dropout: float) -> nn.Module:
    first, (width,), depth = _columns(spelling, rows), spelling.widths, spelling.num_blocks
    if first is None:
        return ResidualMLP(rows.num_inputs, width, depth, num_outputs, dropout=dropout)
    net = ResidualMLP(first.num_outputs, width, depth, num_outputs, dropout=dropout)
    return nn.Sequential(first, net)


def _columns(spelling: Spelling, rows: Rows) -> Columns | None:
    """The first layer, where there is anything for it to do."""
    has_bins = spelling.options.get("numbers") == "bins" and bool(rows.numbers)
    return Columns(rows, has_bins=has_bins) if has_bins or rows.codes else None


def _conv(spelling: Spelling, pictures: Pictures, num_outputs: int, dropout: float) -> nn.Module:
    net = conv(pictures.channels, spelling.widths, num_outputs, dropout=dropout)
    if min(spelling.widths) < LEAST_WIDTH:
        return net
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _bag(spelling: Spelling, tokens: Tokens, num_outputs: int, dropout: float) -> nn.Module:
    if len(spelling.widths) != 1:
        raise UsageError(f"model {spelling.name!r}: a bag has one width: write bag:16")
    return Bag(tokens.num_tokens, spelling.widths[-1], num_outputs, dropout=dropout)


def _transformer(spelling: Spelling, tokens: Tokens, num_outputs: int, dropout: float) -> nn.Module:
    (width,) = spelling.widths
    num_heads = int(spelling.options.get("heads", max(1, width // HEAD)))
    if width % (2 * num_heads):
        raise UsageError(
            f"model {spelling.name!r}: a width of {width} does not divide into {num_heads} heads "
            "of an even width each: take a multiple of twice the heads"
        )
    return Transformer(
        tokens.num_tokens,
        width,
        spelling.num_blocks,
        num_outputs,
        num_heads=num_heads,
        dropout=dropout,
        is_language=tokens.is_language,
    )


KINDS = {
    "linear": Kind(Rows, _linear, has_dropout=False),
    "mlp": Kind(Rows, _mlp),
    "resmlp": Kind(Rows, _resmlp),
    "conv": Kind(Pictures, _conv),
    "bag": Kind(Tokens, _bag),
    "transformer": Kind(Tokens, _transformer, writes=True),
}
