"""The folder of a run: its files, its name, finding it again; needs no torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
import xxhash

from thalweg.errors import RunError, UsageError

SETTINGS, SCHEMA, RECORD = "run.toml", "schema.toml", "record.sqlite"
WEIGHTS, REPORT, VERDICT, MANIFEST = (
    "model.safetensors",
    "report.html",
    "verdict.json",
    "run.manifest",
)

_NAME = re.compile(r"[\w][\w.+-]*")


@dataclass(frozen=True, slots=True)
class Folder:
    """One run on disk."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def is_finished(self) -> bool:
        """Was the run closed in order?"""
        return (self.path / MANIFEST).is_file()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def write(self, name: str, text: str) -> None:
        """Write a text file whole or not at all."""
        path = self.path / name
        part = path.with_name(f".{name}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)

    def write_toml(self, name: str, values: Mapping[str, Any]) -> None:
        self.write(name, tomli_w.dumps(values))

    def read_toml(self, name: str) -> dict[str, Any]:
        """Raises RunError where the file is missing or no TOML."""
        try:
            return tomllib.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path} holds no {name}: the run was not finished") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{self.path / name} is damaged: {error}") from None

    def seal(self) -> None:
        """List every file with its size and checksum (xxh3); a run with this list was finished in
        order.
        """
        files = {
            file.name: {
                "size": file.stat().st_size,
                "xxh3": xxhash.xxh3_64_hexdigest(file.read_bytes()),
            }
            for file in sorted(self.path.iterdir())
            if file.is_file() and file.name != MANIFEST
        }
        self.write(MANIFEST, json.dumps({"schema": 1, "files": files}, indent=1) + "\n")

    def check(self, name: str) -> None:
        """Raises RunError where a file is not the one that the run was sealed with."""
        if not self.is_finished:
            raise RunError(f"{self.path} was not finished: it holds no {MANIFEST}")
        path = self.path / name
        known = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))["files"].get(name)
        if known is None or not path.is_file():
            raise RunError(f"{self.path} holds no {name}")
        if known["xxh3"] != xxhash.xxh3_64_hexdigest(path.read_bytes()):
            raise RunError(
                f"{path} was changed or damaged since the run ended (its checksum differs)"
            )

    def remove(self) -> None:
        shutil.rmtree(self.path)


def create(out: str | os.PathLike[str], name: str | None, stem: str) -> Folder:
    """A new folder `out`/`name`, or `out`/`stem`-1, -2, ... where no name is given.

    Raises UsageError where it exists already or cannot be made.
    """
    root = Path(out)
    if name is not None and (not _NAME.fullmatch(name) or name == "last"):
        raise UsageError(
            f"name {name!r} cannot be used: take letters, digits, '.', '-', '_' (and not 'last')"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _claim(root, name, re.sub(r"[^\w.+-]+", "-", stem).strip("-.") or "run")
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
    """The run that RUN means: a path, a name below `out`, or "last". Raises RunError where there is
    none.
    """
    if str(run) == "last":
        found = every(out)
        if not found:
            raise RunError(f"there is no run in {out} yet: make one with thalweg fit")
        return found[-1]
    for path in (Path(run), Path(out) / run):
        if (path / SETTINGS).is_file():
            return Folder(path)
    if Path(run).exists():
        raise RunError(f"{run} is not the folder of a run: it holds no {SETTINGS}")
    known = ", ".join(folder.name for folder in every(out)[-5:])
    raise RunError(
        f"there is no run {str(run)!r}, neither here nor in {out}"
        + (f" (there: {known})" if known else "")
    )


def every(out: str | os.PathLike[str] = "runs") -> list[Folder]:
    """All runs below `out`, oldest first."""
    files = [path / SETTINGS for path in Path(out).iterdir()] if Path(out).is_dir() else []
    made = [(file.stat().st_mtime_ns, file.parent) for file in files if file.is_file()]
    return [Folder(path) for _, path in sorted(made)]
