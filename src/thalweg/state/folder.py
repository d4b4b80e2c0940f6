"""The folder of a run: its files, its name, finding it again; needs no torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
import xxhash

from thalweg.errors import RunError, UsageError

SETTINGS, SCHEMA, RECORD, LOG = "run.toml", "schema.toml", "record.sqlite", "record.log"
WEIGHTS, REPORT, VERDICT, MANIFEST = (
    "model.safetensors",
    "report.html",
    "verdict.json",
    "run.manifest",
)

FOLDS, OUT_OF_FOLD = "folds.json", "out-of-fold.csv"
"""What folds say together, and each row's prediction by the model that was not trained on it."""

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints."""

MOST_LETTERS = 60
"""Of a run's name: even where each takes four bytes, the file system takes it."""

_NAME = re.compile(rf"\w[\w.+-]{{,{MOST_LETTERS - 1}}}")


@dataclass(frozen=True, slots=True)
class Folder:
    """One run on disk.

    made: folders above it that were made for it, the innermost first
    """

    path: Path
    made: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name or self.path.resolve().name

    @property
    def is_finished(self) -> bool:
        """Was the run closed in order?"""
        return (self.path / MANIFEST).is_file()

    @property
    def is_folds(self) -> bool:
        """Does it hold the runs of several folds?"""
        return (self.path / FOLDS).is_file()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def write(self, name: str, text: str) -> None:
        """Write a text file whole or not at all. Raises UsageError where that fails."""
        path = self.path / name
        part = path.with_name(f".{name}.part")
        try:
            part.write_text(text, encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None

    def write_toml(self, name: str, values: Mapping[str, Any]) -> None:
        self.write(name, tomli_w.dumps(values))

    def read_toml(self, name: str) -> dict[str, Any]:
        """Raises RunError where the file is missing or no TOML."""
        return self._parsed(name, tomllib.loads)

    def read_json(self, name: str) -> dict[str, Any]:
        """Raises RunError where the file is missing or no JSON object."""
        return self._parsed(name, json.loads)

    def _parsed(self, name: str, parse: Callable[[str], Any]) -> dict[str, Any]:
        try:
            values = parse((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path} holds no {name}: the run was not finished") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / name} is damaged: {error}") from None
        if not isinstance(values, dict):
            raise RunError(f"{self.path / name} is damaged: it holds no table")
        return values

    def seal(self) -> None:
        """List every file with its size and checksum (xxh3): this run was finished in order."""
        files = [file for file in sorted(self.path.iterdir()) if file.is_file()]
        self._list({file.name: _entry(file) for file in files if file.name != MANIFEST})

    def reseal(self, name: str) -> None:
        """List one file anew; what is known of the others stays, so that damage is still found."""
        self._list(self._sealed() | {name: _entry(self.path / name)})

    @contextmanager
    def gone_on_with(self) -> Iterator[None]:
        """It counts as unfinished from here on, unless what is done inside fails.

        Raises RunError where it cannot be written.
        """
        path = self.path / MANIFEST
        try:
            sealed = path.read_bytes() if path.is_file() else None
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be gone on with: {error.strerror}; copy it to a place that "
                "can be written"
            ) from None
        try:
            yield
        except BaseException:
            if sealed is not None:
                path.write_bytes(sealed)
            raise

    def check(self, name: str) -> None:
        """Raises RunError where a file is not the one that the run was sealed with."""
        if not self.is_finished:
            raise RunError(
                f"{self.path} was not finished (no {MANIFEST}): it still runs, or was cut off"
            )
        path = self.path / name
        known = self._sealed().get(name)
        if known is None or not path.is_file():
            raise RunError(f"{self.path} holds no {name}")
        if known != _entry(path):
            raise RunError(
                f"{path} was changed or damaged since the run ended (its checksum differs): "
                "bring the file back from a copy, or train again"
            )

    def _sealed(self) -> dict[str, Any]:
        known = self.read_json(MANIFEST).get("files")
        return known if isinstance(known, dict) else {}

    def _list(self, files: dict[str, Any]) -> None:
        self.write(MANIFEST, json.dumps({"schema": 1, "files": files}, indent=1) + "\n")

    def withdraw(self) -> None:
        """Remove what `create` made, as if it had never been; a folder that others use stays."""
        self.remove()
        for path in self.made:
            with suppress(OSError):
                path.rmdir()

    def remove(self) -> None:
        """Raises UsageError where it cannot be deleted."""
        try:
            self.path.unlink() if self.path.is_symlink() else shutil.rmtree(self.path.resolve())
        except OSError as error:
            raise UsageError(f"{self.path} cannot be deleted: {error.strerror}") from None


def _entry(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "xxh3": fingerprint(path)}


def fingerprint(path: Path) -> str:
    """The xxh3 checksum of a file, 16 hex digits."""
    hasher = xxhash.xxh3_64()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def create(out: str | os.PathLike[str], name: str | None, stem: str) -> Folder:
    """A new folder `out`/`name`, or `out`/`stem`-1, -2, ... where no name is given.

    Raises UsageError where it exists already or cannot be made.
    """
    root = Path(out)
    if name is not None and (not _NAME.fullmatch(name) or name == "last"):
        raise UsageError(
            f"name {name!r} cannot be used: take at most {MOST_LETTERS} letters, digits, "
            "'.', '-', '_' (and not 'last')"
        )
    if os.path.isfile(root):
        raise UsageError(f"{root} is a file, not a folder: choose another --out")
    try:
        made = tuple(path for path in (root, *root.parents) if not path.exists())
        root.mkdir(parents=True, exist_ok=True)
        plain = re.sub(r"[^\w.+-]+", "-", stem).strip("-.")[:MOST_LETTERS]
        return replace(_claim(root, name, plain or "run"), made=made)
    except FileExistsError:
        place = root / name if name else root
        raise UsageError(f"{place} exists already: choose another --name, or delete it") from None
    except OSError as error:
        raise UsageError(
            f"{root} cannot be written: {error.strerror}; choose another --out"
        ) from None


def _claim(root: Path, name: str | None, stem: str) -> Folder:
    if name is not None:
        (root / name).mkdir()
        return Folder(root / name)
    number = 1
    while True:
        try:
            (root / f"{stem}-{number}").mkdir()
            return Folder(root / f"{stem}-{number}")
        except FileExistsError:
            number += 1


def find(run: str | os.PathLike[str], out: str | os.PathLike[str] = "runs") -> Folder:
    """The run that RUN means: a path, a name below `out`, or "last". Raises RunError if none."""
    if str(run) == "last":
        found = every(out)
        if not found:
            raise RunError(f"there is no run in {out} yet: make one with thalweg fit")
        return found[-1]
    for path in (Path(run), Path(out) / run):
        if is_run(path):
            return Folder(path)
    for path in (Path(run), Path(out) / run):
        if os.path.isdir(path / CHECKPOINTS) and not os.path.exists(path / SETTINGS):
            raise RunError(
                f"{path} holds the state of a loop of your own: load_state goes on with it, in the "
                "script that made it (descend: folder=..., resume=True)"
            )
        if os.path.exists(path):
            raise RunError(f"{path} is not the folder of a run: it holds no {SETTINGS} and record")
    known = ", ".join(folder.name for folder in every(out)[-5:])
    raise RunError(
        f"there is no run {str(run)!r}, neither here nor in {out}"
        + (f" (there: {known})" if known else "")
    )


def every(out: str | os.PathLike[str] = "runs") -> list[Folder]:
    """All runs below `out`, oldest first."""
    paths = list(Path(out).iterdir()) if Path(out).is_dir() else []
    made = [((path / SETTINGS).stat().st_mtime_ns, path) for path in paths if is_run(path)]
    return [Folder(path) for _, path in sorted(made)]


def is_run(path: Path) -> bool:
    """Is it a run's folder? A copy of run.toml alone makes none."""
    has_record = any(os.path.isfile(path / name) for name in (RECORD, LOG, MANIFEST, FOLDS))
    return has_record and os.path.isfile(path / SETTINGS)


def origin_of(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a run.toml that say where its settings come from.

    parent: {"run": its folder, "step": a number}, of a child
    longer: {"step": a number, "text": how}, of a run that was trained longer
    """
    wanted = {"parent": {"run": str, "step": int}, "longer": {"step": int, "text": str}}
    return {
        name: values[name]
        for name, row in wanted.items()
        if isinstance(values.get(name), dict)
        and all(type(values[name].get(key)) is kind for key, kind in row.items())
    }
