"""How samples of arrays or a Dataset are shared out, and copies of them in two parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from thalweg.errors import UsageError
from thalweg.tasks.sources import Arrays
from thalweg.tasks.table.asked import Parting
from thalweg.tasks.table.found import Found, counts_of, unlearnt_of
from thalweg.tasks.table.given import check_alone
from thalweg.tasks.table.parts import Parts, at_random
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.twins import chance_of, keys_of_array, twins_of
from thalweg.types import Source

MOST_VALUES = 200_000_000
"""Input values, in all parts, above which no copies are looked for."""


def given_of(parting: Parting, validation: Any, test: Any) -> Parting:
    """How the data's own samples are shared out, beside samples that were given.

    Raises UsageError for what needs columns, or has no effect.
    """
    check_alone(parting, validation, test)
    if parting.column is not None:
        raise UsageError(
            f"split {parting.how} needs a table: arrays and Datasets have no column "
            f"{parting.column!r}; give validation= and test= instead"
        )
    if validation is not None:
        parting = replace(parting, validation_share=0)
    return parting if test is None else replace(parting, test_share=0)


def shared_out(num_samples: int, parting: Parting, strata: np.ndarray | None) -> Parts:
    """The parts; strata: class ids of shape (n,). Raises UsageError where they are asked for and
    there are none.
    """
    if parting.kind == "stratified" and strata is None:
        raise UsageError("split stratified needs class ids in memory: use random")
    return at_random(num_samples, parting, strata)


def found_of(
    train: Source, validation: Source, test: Source, *, parts: Parts, classes: tuple[str, ...]
) -> Found:
    """Copies among arrays in memory; of a Dataset nothing is looked at, which would load it."""
    sources = [train, validation, test]
    arrays = [source for source in sources if isinstance(source, Arrays)]
    if len(arrays) < len(sources):
        return Found(parts)
    inputs = [source.inputs.numpy(force=True) for source in arrays]
    targets = [source.targets.numpy(force=True) for source in arrays]
    labels = np.concatenate(targets)
    places = np.split(np.arange(len(labels)), np.cumsum([len(each) for each in targets])[:-1])
    here = replace(parts, rows=Split(*places))
    unlearnt, counts = unlearnt_of(labels, here, classes), counts_of(labels, here, classes)
    if sum(each.size for each in inputs) > MOST_VALUES or inputs[0][0].size < 2:
        return Found(parts, unlearnt=unlearnt, counts=counts)
    flat = np.concatenate([each.reshape(len(each), -1) for each in inputs])
    twins = twins_of(
        keys_of_array(flat),
        labels,
        here.rows,
        chance=chance_of([keys_of_array(flat[:, first::2]) for first in (0, 1)]),
        given=[name for name, rows in _named(parts) if len(rows) == 0],
        exact=lambda rows, others: (flat[rows] == flat[others]).all(axis=1),
    )
    stands = np.concatenate([_rows(source) for source in arrays])
    copies = tuple(each.at(stands) for each in twins)
    return Found(parts, copies, unlearnt=unlearnt, counts=counts)


def _named(parts: Parts) -> list[tuple[str, np.ndarray]]:
    return [("validation", parts.rows.validation), ("test", parts.rows.test)]


def _rows(source: Arrays) -> np.ndarray:
    """Where the samples stand in the data that they came with."""
    return np.arange(len(source)) if source.rows is None else source.rows
