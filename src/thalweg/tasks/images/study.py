"""A study of pictures: decoded, shared out, and measured on the training pictures alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from thalweg.errors import about
from thalweg.tasks.images.augment import reach
from thalweg.tasks.images.baseline import baselines_of
from thalweg.tasks.images.copies import copies_of
from thalweg.tasks.images.files import checked_broken
from thalweg.tasks.images.form import Form, Shape
from thalweg.tasks.images.looks import shape_of
from thalweg.tasks.images.shelf import Shelf, shelved
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.images.wish import Album, Wish
from thalweg.tasks.study import Study
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.describe import Dropped
from thalweg.tasks.table.encode import encode_target
from thalweg.tasks.table.found import Found, counts_of, unlearnt_of
from thalweg.tasks.table.given import Given
from thalweg.tasks.table.learn import learn_target
from thalweg.tasks.table.parts import Parts
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.several import LOSSES, metrics_for
from thalweg.tasks.table.shared import shared_rows
from thalweg.tasks.table.target import Target, measured, rare_classes, target_names

MOST_MEASURED = 5000
"""Training pictures, spread over them, whose mean and deviation are taken."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An album whose broken files are left out.

    asked: with the rows to validate and to test as frames; places: of each row's picture on the
    shelf, and paths: of its file, those of the data itself first, then to validate, then to test
    """

    frame: pl.DataFrame
    asked: Asked
    shelf: Shelf
    shape: Shape
    places: np.ndarray
    paths: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def keys(self) -> np.ndarray:
        """Alike for rows whose files are alike, uint64 (rows,)."""
        return self.shelf.keys[self.places]


def of_pictures(album: Album, asked: Asked, wish: Wish, *, source: str) -> Study:
    """source: what to call the data in messages. Raises DataError for pictures that cannot be
    learnt from, UsageError for wishes that do not fit them.
    """
    names = target_names(album.frame, asked.target, source)
    with about(source):
        learn_target(album.frame, names, asked)  # what fails, fails before all files are read
    found = _decoded(album, asked, wish, source)
    shared = shared_rows(found.frame, found.asked, source)
    given, target, parts = shared.given, shared.target, shared.parts
    schema = _schema(given, target, parts)
    labels = encode_target(given.frame, schema.target, source)
    form = _form(found, parts.rows.train, album.column)
    said = _found(found, parts, labels, schema.target)
    train, validation, test = (
        _source(found, given, rows, labels, form)
        for rows in (parts.rows.train, parts.rows.validation, parts.rows.test)
    )
    return Study(
        name=source,
        kind=target.task,
        loss=LOSSES[target.task],
        metrics=metrics_for(schema.target),
        train=replace(train, augment=wish.augmentation),
        validation=validation,
        test=test,
        rows=given.frame.height,
        num_features=int(np.prod(form.shape.stored)),
        baselines=baselines_of((train, test), schema.target),
        classes=schema.target.classes or None,
        schema=schema,
        inputs=form.reads,
        mean=schema.target.mean,
        deviation=schema.target.deviation,
        notices=(
            *album.notices,
            *found.notices,
            _augmentation(wish, form.shape),
            *rare_classes(given.frame, schema.target),
            *said.notices,
        ),
        found=said,
        images=form,
        by=shared.by,
        prefers={"model": "conv"},
        resolved={"image_size": form.shape.size, "augment": wish.augmentation},
    )


def _decoded(album: Album, asked: Asked, wish: Wish, source: str) -> Decoded:
    """All pictures of an album, decoded, and those left out that are broken."""
    albums = [album, album.validation, album.test]
    paths = tuple(path for row in albums if row for path in row.paths)
    where = f"{source}, column {album.column!r}" if album.column else source
    shape, words = shape_of(album.paths, wish.size, where)
    shelf = shelved(paths, shape, threads=wish.threads, tell=wish.tell)
    is_whole = np.ones(len(paths), dtype=bool)
    is_whole[list(shelf.reasons)] = False
    frames, notices = [], [words, f"decoded pictures are kept {_place(shelf.where)}"]
    names = (where, f"{source}, its validation pictures", f"{source}, its test pictures")
    for row, (first, last), name in zip(albums, _cuts(albums), names, strict=True):
        frames.append(None if row is None else row.frame.filter(is_whole[first:last]))
        broken = [(paths[i], shelf.reasons[i]) for i in range(first, last) if i in shelf.reasons]
        notices += checked_broken(broken, last - first, name)
    places = np.flatnonzero(is_whole)
    return Decoded(
        frames[0],  # pyright: ignore[reportArgumentType]
        replace(asked, validation=frames[1], test=frames[2]),
        shelf,
        shape,
        places,
        tuple(paths[place] for place in places),
        tuple(notices),
    )


def _cuts(albums: list[Album | None]) -> Iterator[tuple[int, int]]:
    """Where each album's files stand among all."""
    start = 0
    for row in albums:
        count = 0 if row is None else len(row.paths)
        yield start, start + count
        start += count


def _place(where: str) -> str:
    return f"in {where}" if where.startswith("/") else where


def _schema(given: Given, target: Target, parts: Parts) -> Schema:
    """Only the target: a picture is no column; the others are left out."""
    reason = "a model of pictures sees nothing else"
    dropped = [Dropped(name, reason) for name in given.frame.columns if name not in target.names]
    target = measured(target, given.frame, parts.rows.train)
    return Schema((), tuple(dropped), target, len(parts.rows.train))


def _form(found: Decoded, train: np.ndarray, column: str) -> Form:
    """Mean and deviation of each channel, of the training pictures."""
    few = np.unique(np.linspace(0, len(train) - 1, MOST_MEASURED).round().astype(int))
    sums = np.zeros((2, found.shape.channels))
    for places in np.array_split(found.places[train[few]], -(-len(few) // 256)):
        values = found.shelf.pictures.take(places) / 255
        sums += np.stack([values.mean(axis=(1, 2)).sum(0), (values**2).mean(axis=(1, 2)).sum(0)])
    mean, square = sums / len(few)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    deviation = np.where(deviation > 1e-4, deviation, 1.0)
    return Form(found.shape, tuple(mean.tolist()), tuple(deviation.tolist()), column)


def _source(
    found: Decoded, given: Given, rows: np.ndarray, labels: np.ndarray, form: Form
) -> PictureSource:
    """The pictures of some rows."""
    return PictureSource(
        found.shelf.pictures,
        found.places[rows],
        form,
        torch.from_numpy(labels[rows]),
        given.stands[rows],
        found.keys[rows],
        tuple(found.paths[row] for row in rows),
    )


def _found(found: Decoded, parts: Parts, labels: np.ndarray, target: Target) -> Found:
    """What is to be known of the split."""
    return Found(
        parts,
        unlearnt=unlearnt_of(labels, parts, target.classes) if labels.ndim == 1 else (),
        copies=copies_of(found.keys, labels, parts.rows, found.paths),
        counts=counts_of(labels, parts, target.classes),
    )


def _augmentation(wish: Wish, shape: Shape) -> str:
    """What is drawn anew for each picture in each epoch."""
    if wish.augmentation == "none":
        return "pictures are learnt as they are, without augmentation"
    shifts = dict.fromkeys([reach(shape.width), reach(shape.height)])
    words = (
        f"augmentation: each picture is shifted by up to {' and '.join(map(str, shifts))} pixels"
    )
    if wish.augmentation == "flip":
        return f"{words} and flipped at random, anew in each epoch"
    if wish.augment is not None:
        return f"{words}, anew in each epoch"
    return f"{words}, anew in each epoch (--augment flip where left and right are alike, or none)"
