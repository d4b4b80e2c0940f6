"""What the tests of foreign logs share: texts on disk, genuine files, one log of each."""

from __future__ import annotations

from pathlib import Path

from thalweg.record.foreign import Columns, Log, find_logs, read_logs

GENUINE = Path(__file__).parent / "logs"
"""Files that the packages themselves wrote; how is told in their README."""


def read(path: Path | str, **columns: str) -> Log:
    """The only log of a path."""
    (log,) = read_all(path, **columns)
    return log


def read_all(path: Path | str, **columns: str) -> list[Log]:
    (found,) = find_logs(str(path))
    return read_logs(found, str(path), Columns(**columns))


def written(folder: Path, name: str, text: str | bytes) -> Path:
    """A file of that text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def curve(log: Log, role: str) -> list[tuple[float, float]]:
    """(step, value) of a series."""
    series = log.series[role]
    return [(float(s), float(v)) for s, v in zip(series.steps, series.values, strict=True)]


def falling(count: int = 20, header: str = "step,loss") -> str:
    """A CSV whose columns fall from 2."""
    width = header.count(",")
    rows = (f"{i}" + f",{2 / (1 + i):.5f}" * width for i in range(count))
    return "\n".join([header, *rows]) + "\n"
