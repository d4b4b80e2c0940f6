"""A table made ready to learn from, without torch: shared out, its columns learnt, encoded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl

from thalweg.errors import about
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.encode import encode_in_order, encode_target
from thalweg.tasks.table.found import Found, found_in
from thalweg.tasks.table.learn import learn_schema
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.shared import Shared, shared_rows


@dataclass(frozen=True, slots=True)
class Ready:
    """shared: all rows, and which of them train, validate and test; schema: what was learnt

    inputs: float32 (rows, schema.width), those that train first, then validation and test
    labels: of each row as it stands in the data; found: what the rows give away
    """

    shared: Shared
    schema: Schema
    inputs: np.ndarray
    labels: np.ndarray
    found: Found


def made_ready(frame: pl.DataFrame, asked: Asked, source: str) -> Ready:
    """source: what to call the data in messages. Raises DataError for a table that cannot be learnt
    from.
    """
    shared = shared_rows(frame, asked, source)
    with about(source):
        schema = learn_schema(shared.given, shared.target, shared.parts, asked)
    labels = encode_target(shared.given.frame, schema.target, source)
    rows = shared.parts.rows
    order = np.concatenate([rows.train, rows.validation, rows.test])
    with ThreadPoolExecutor(1) as beside:  # neither needs the other, nor the interpreter for long
        found = beside.submit(found_in, shared.given, schema, shared.parts, labels)
        inputs = encode_in_order(shared.given.sources(source), schema, order)
        return Ready(shared, schema, inputs, labels, found.result())
