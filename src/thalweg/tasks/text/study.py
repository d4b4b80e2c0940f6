"""A study of the texts in a table: tokens learnt from the training rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from thalweg.errors import DataError, UsageError
from thalweg.tasks import baselines
from thalweg.tasks.sources import Arrays
from thalweg.tasks.study import Study
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.describe import Dropped
from thalweg.tasks.table.encode import encode_target
from thalweg.tasks.table.found import Found, counts_of, ids_of, unlearnt_of
from thalweg.tasks.table.given import Given
from thalweg.tasks.table.learn import schema_notices
from thalweg.tasks.table.parts import Parts
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.several import LOSSES, metrics_for
from thalweg.tasks.table.shared import shared_rows
from thalweg.tasks.table.split import Split
from thalweg.tasks.table.target import Target, describe_labels, measured, target_names
from thalweg.tasks.table.twins import keys_of_frame, twins_of
from thalweg.tasks.table.values import find_column, plain_numbers, short
from thalweg.tasks.text.bayes import naive_bayes
from thalweg.tasks.text.words import learn_words, text_notices, texts_of, trimmed

OTHER = "only the texts are learnt from"


@dataclass(frozen=True, slots=True)
class Reads:
    """columns: of texts; is_bag: does the model count features, or read pieces in order?

    most: tokens after which a text is cut; None: by default
    """

    columns: tuple[str, ...]
    is_bag: bool
    most: int | None = None


def of_texts(frame: pl.DataFrame, asked: Asked, reads: Reads, *, source: str) -> Study:
    """source: what to call the data in messages. Raises DataError for a table that cannot be learnt
    from, UsageError for columns that cannot be the texts.
    """
    names = target_names(frame, asked.target, source)
    columns = _columns(frame, reads.columns, names, source)
    shared = shared_rows(frame, asked, source)
    frame, parts = shared.given.frame, shared.parts.rows
    texts = texts_of(frame, columns, source)
    some = [texts[row] for row in parts.train]
    if len(set(some)) == 1:
        raise DataError(
            f"{source}: every text of {', '.join(map(repr, columns))} is "
            f"{short(some[0]) if some[0].strip() else 'empty'}: there is nothing to learn from"
        )
    words = learn_words(some, columns, is_bag=reads.is_bag, most=reads.most, rows=len(texts))
    words, inputs = trimmed(words, words.encode(texts), parts.train)
    dropped = [Dropped(n, OTHER) for n in frame.columns if n not in (*columns, *names)]
    target = _measured(shared.target, frame, parts.train)
    schema = Schema((), tuple(dropped), target, len(some), words)
    labels = encode_target(frame, schema.target, source)
    train, validation, test = (
        Arrays(torch.from_numpy(inputs[rows]), torch.from_numpy(labels[rows]), rows)
        for rows in (parts.train, parts.validation, parts.test)
    )
    found = _found(shared.given, schema, shared.parts, labels)
    return Study(
        name=source,
        kind=target.task,
        loss=LOSSES[target.task],
        metrics=metrics_for(target),
        train=train,
        validation=validation,
        test=test,
        rows=frame.height,
        num_features=len(columns),
        baselines=_baselines(inputs, labels, parts, target),
        classes=target.classes or None,
        schema=schema,
        inputs=words.tokens,
        mean=target.mean,
        deviation=target.deviation,
        notices=(*_notices(frame, schema, texts, parts), *found.notices),
        found=found,
        weights=shared.weights,
        by=shared.by,
        where=shared.given.where(source),
        prefers={"model": "bag"},
    )


def _columns(
    frame: pl.DataFrame, names: tuple[str, ...], targets: tuple[str, ...], source: str
) -> tuple[str, ...]:
    """The columns of the texts. Raises UsageError for the target, or one that stands there twice"""
    found = tuple(find_column(frame, name, source) for name in names)
    if not found:
        raise UsageError("text names no column: write --text COL, several as a,b")
    for name in found:
        if name in targets:
            raise UsageError(f"text and target are both {name!r}: a text cannot predict itself")
    return tuple(dict.fromkeys(found))


def _measured(target: Target, frame: pl.DataFrame, train: np.ndarray) -> Target:
    if target.task == "multilabel":
        return describe_labels(frame, target.name, target.separator, train)
    return measured(target, frame, train)


def _notices(frame: pl.DataFrame, schema: Schema, texts: list[str], parts: Split) -> list[str]:
    """What was done, a line each."""
    words = schema.words
    assert words is not None
    names = ", ".join(map(repr, words.columns))
    plain = replace(schema, dropped=())
    lines = [f"texts of {names}: {words.use}", *text_notices(texts)]
    for column in frame.select(words.columns).iter_columns():
        if plain_numbers(column.cast(pl.String)).null_count() == column.null_count():
            lines.append(
                f"column {column.name!r} holds numbers, and is read as texts (--text): without it "
                "their size would count"
            )
    if schema.dropped:
        others = [row.name for row in schema.dropped]
        shown = ", ".join(others[:8]) + (", ..." if len(others) > 8 else "")
        lines.append(f"{len(others):,} other columns left out, {OTHER}: {shown}")
    return [*lines, *schema_notices(frame, plain, parts.train)]


def _found(given: Given, schema: Schema, shared: Parts, labels: np.ndarray) -> Found:
    """Texts that stand in two parts, and classes that stand in no training row."""
    assert schema.words is not None
    is_one = labels.ndim == 1
    ids = labels if is_one else ids_of(labels)
    keys = keys_of_frame(given.frame.select(schema.words.columns))
    twins = twins_of(keys, ids, shared.rows, chance=0.0, given=given.names)
    unlearnt = unlearnt_of(labels, shared, schema.target.classes) if is_one else ()
    return Found(
        shared,
        tuple(each.at(given.stands) for each in twins),
        unlearnt=unlearnt,
        counts=counts_of(labels, shared, schema.target.classes),
    )


def _baselines(
    inputs: np.ndarray, labels: np.ndarray, parts: Split, target: Target
) -> Callable[[int], dict[str, baselines.Scores]]:
    """The constant, and for classes naive Bayes on the same tokens."""
    classes = target.classes if target.task == "classification" else None

    def score(seed: int) -> dict[str, baselines.Scores]:
        if labels.ndim > 1:
            return {}
        values = labels if classes else labels.astype(np.float64) * target.deviation + target.mean
        found = {"constant": baselines.constant(values[parts.train], values[parts.test], classes)}
        if classes:
            answers = naive_bayes((inputs[parts.train], labels[parts.train]), inputs[parts.test])
            right = float((answers == labels[parts.test]).mean())
            found["words"] = {"label": "naive Bayes", "accuracy": right}
        return found

    return score
