"""A trained model with what it takes to predict and to score anybody's pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from thalweg.errors import DataError
from thalweg.tasks.images.album import album_to_score
from thalweg.tasks.images.column import base_of, paths_of, picture_column
from thalweg.tasks.images.files import Files, checked_broken
from thalweg.tasks.images.folders import all_below, is_picture_name
from thalweg.tasks.images.form import Form
from thalweg.tasks.images.read import made
from thalweg.tasks.images.shelf import Kept, Pictures, shelved
from thalweg.tasks.images.source import PictureSource
from thalweg.tasks.measure import measure, outputs_of
from thalweg.tasks.predictions import as_frame
from thalweg.tasks.predictor import Predictor
from thalweg.tasks.table.asked import Asked
from thalweg.tasks.table.encode import encode_target
from thalweg.tasks.table.read import read_table
from thalweg.tasks.table.schema import Schema
from thalweg.tasks.table.source import is_standard_input, is_stored, name_of, standard_input

LISTS = (".txt", ".lst")
"""Names of files that list pictures, a path in each line."""


@dataclass(frozen=True, slots=True)
class Named:
    """Pictures to predict: files, as they were named, or pictures in memory (names is empty)."""

    pictures: Pictures
    names: tuple[str, ...]
    count: int
    source: str


class PicturePredictor:
    """A predictor of pictures; form: what each is made into."""

    def __init__(self, inner: Predictor, form: Form):
        self.form = form
        self.inner = inner
        self.model = inner.model
        self.reading = inner.reading

    @property
    def schema(self) -> Schema:
        """Of the target alone."""
        assert self.inner.schema is not None
        return self.inner.schema

    def predict(self, data: Any) -> Any:
        """A frame of `path`, `prediction` and, for classes, `probability_<class>` for each.

        data: a picture, a folder of them, a list of paths (a .txt with one in each line, or a list
        in Python), a table with a column of paths; or pictures in memory, bytes (uint8) of shape
        (n, height, width) or (n, height, width, channels), which have no path
        Raises DataError for what cannot be read; of many a few broken ones are left out.
        """
        given = self._pictures(data)
        source = self._source(given.pictures, given.count)
        outputs, _ = outputs_of(self.inner.task_on(source, loss="mse"), source)
        reasons = given.pictures.reasons if isinstance(given.pictures, Files) else {}
        kept = _whole(given.names or range(given.count), reasons, given.source)
        frame = as_frame(
            outputs[torch.from_numpy(kept)], self.schema, self.inner.kind, reading=self.reading
        )
        if not given.names:
            return frame
        return frame.insert_column(0, pl.Series("path", [given.names[i] for i in kept]))

    def evaluate(self, data: Any) -> dict[str, float]:
        """Rows, loss and metrics on pictures that come with their targets, as in training: a folder
        for each class, or a table.

        Raises DataError where the target is missing, or a class is unknown.
        """
        target, source = self.schema.target, name_of(data)
        texts = [*self.schema.texts, self.form.column]
        album = album_to_score(data, target.name, self.form.column, texts)
        labels = torch.from_numpy(encode_target(album.frame, target, source))
        shelf = shelved(album.paths, self.form.shape, threads=0, tell=lambda text: None)
        kept = _whole(album.paths, shelf.reasons, source)
        labels = labels[torch.from_numpy(kept)]
        pictures = self._source(shelf.pictures, len(album.paths), kept, labels)
        task = self.inner.task_on(pictures, loss=self.inner.loss or self.inner.saved_loss())
        values, _ = measure(task, pictures.to(task.device))
        return {"rows": len(pictures), **values}

    def generate(self, prompt: str, **wishes: Any) -> str:
        """Raises UsageError: it is no language model."""
        return self.inner.generate(prompt, **wishes)

    def read(self, data: Any) -> Any:
        """Data as it is: files are read when they are predicted."""
        return data

    def drift(self, data: Any) -> list[Any]:
        """Nothing is known of how pictures change."""
        return []

    def _source(
        self,
        pictures: Pictures,
        count: int,
        kept: np.ndarray | None = None,
        targets: Tensor | None = None,
    ) -> PictureSource:
        places = np.arange(count) if kept is None else kept
        return PictureSource(
            pictures,
            places,
            self.form,
            torch.zeros(len(places)) if targets is None else targets,
            places,
            np.zeros(len(places), dtype=np.uint64),
            (),
        )

    def _pictures(self, data: Any) -> Named:
        if is_stored(data):
            return self._files(*self._named(data), name_of(data))
        if isinstance(data, list | tuple) and data and all(map(is_stored, data)):
            names = [str(path) for path in data]
            return self._files(names, names, "the data")
        if hasattr(data, "columns"):
            return self._files(*self._in_table(data), "the data")
        pictures = self._in_memory(data)
        return Named(Kept(pictures.shape, pictures), (), len(pictures), "the data")

    def _files(self, paths: Sequence[str], names: Sequence[str], source: str) -> Named:
        return Named(Files(paths, self.form.shape), tuple(names), len(paths), source)

    def _named(self, data: str | Path) -> tuple[Sequence[str], Sequence[str]]:
        """Paths of the files that a path stands for, and what to call them."""
        path = Path(data)
        if is_standard_input(data):
            return _listed(standard_input().decode(errors="surrogateescape"), Path(), "-")
        if path.is_dir():
            found = all_below(path)
            if not found:
                raise DataError(f"{data} holds no pictures")
            return found, found
        if not path.exists():
            raise DataError(f"{data} does not exist: check the spelling, or give the full path")
        if is_picture_name(str(data)) or _is_picture(path):
            return [str(data)], [str(data)]
        if path.suffix.lower() in LISTS:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            return _listed(text, path.parent, str(data))
        return self._in_table(data)

    def _in_table(self, data: Any) -> tuple[Sequence[str], Sequence[str]]:
        """The column of paths of a table: that of training, else the one that is found."""
        frame, base = read_table(data, texts=[self.form.column]).frame, base_of(data)
        column = self.form.column
        if column not in frame.columns:
            column = picture_column(frame, Asked(target=self.schema.target.name), base) or ""
        if not column:
            wanted = f"{self.form.column!r}" if self.form.column else "of paths of pictures"
            raise DataError(f"{name_of(data)} has no column {wanted}")
        names = frame.get_column(column)
        return paths_of(names, base, name_of(data)), names.to_list()

    def _in_memory(self, data: Any) -> np.ndarray:
        """Bytes, or Pillow's pictures, at the size of the run."""
        from PIL import Image

        if isinstance(data, Image.Image):
            data = [data]
        if isinstance(data, list | tuple) and all(isinstance(row, Image.Image) for row in data):
            images = list(data)
        else:
            images = [Image.fromarray(row) for row in _bytes_of(data)]
        if not images:
            raise DataError("the data holds no pictures")
        return np.stack([made(image, self.form.shape) for image in images])


def _bytes_of(data: Any) -> np.ndarray:
    """Pictures as uint8 (n, height, width) or (n, height, width, 3). Raises DataError."""
    array = np.asarray(data.detach().cpu() if isinstance(data, Tensor) else data)
    is_right = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_right:
        raise DataError(
            f"the data is {array.dtype} of shape {array.shape}: give paths, or pictures as bytes "
            "(uint8) of shape (n, height, width) or (n, height, width, channels), 0 .. 255"
        )
    return array[..., 0] if array.ndim == 4 and array.shape[-1] == 1 else array


def _is_picture(path: Path) -> bool:
    """Is it one by its content, whatever its name?"""
    from PIL import Image

    try:
        with Image.open(path):
            return True
    except Exception:
        return False


def _whole(names: Sequence[Any], reasons: Mapping[int, str], source: str) -> np.ndarray:
    """Places of the pictures that could be read; those that could not are said.

    reasons: why not, by place. Raises DataError for too many
    """
    broken = [(names[i], reasons[i]) for i in sorted(reasons)]
    if broken and len(names) == 1:
        raise DataError(f"{broken[0][0]}: {broken[0][1]}")
    for line in checked_broken(broken, len(names), source):
        warnings.warn(line, stacklevel=4)
    return np.array([i for i in range(len(names)) if i not in reasons], dtype=np.int64)


def _listed(text: str, base: Path, source: str) -> tuple[list[str], list[str]]:
    """The paths in the lines of a list: relative to it, or where they are not there, to here."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise DataError(f"{source} lists no pictures")
    near = [os.path.join(base, name) for name in names]
    return [
        path if os.path.exists(path) else name for path, name in zip(near, names, strict=True)
    ], names


def for_images(predictor: Predictor, form: Form | None) -> Predictor | PicturePredictor:
    """The predictor of a run, on pictures or not."""
    return predictor if form is None else PicturePredictor(predictor, form)
