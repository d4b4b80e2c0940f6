"""Three image classifiers that stop improving at lr 0.1, each for another reason.

    python -m benchmarks.stops_improving            the runs, in ./stops-improving; their numbers
    python -m benchmarks.stops_improving --write    the parts of docs/stops-improving.md, made anew

The pictures are scikit-learn's digits: nothing is fetched. It takes less than a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.curve_picture import Line, Mark, Panel, picture
from thalweg.cli.main import main as thalweg
from thalweg.draw.curves import smooth
from thalweg.health.diagnosis import diagnose
from thalweg.record import read
from thalweg.record.as_log import as_log
from thalweg.record.foreign.log import Log, Series

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, PICTURES = DOCS / "stops-improving.md", DOCS / "pictures"
START, END = "<!-- {}: written by benchmarks/stops_improving.py -->", "<!-- end of {} -->"

SPLITS = {"train": 900, "val": 450, "test": 447}
FEW = 60
"""Pictures to learn from in `few`; it has the same ones to check on as `digits`."""

CLASSIFIERS = """from torch import nn


def small():  # 64 pixels, 128 units, 10 digits
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def large():  # four layers of 256 units
    layers = [nn.Flatten(), nn.Linear(64, 256), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))
"""

COMMON = "--augment none --evaluate-every 25 --patience 100"


@dataclass(frozen=True)
class Case:
    """A run that stops improving, by its letter. code: of its cause; command: without the name

    changes: of runs that were tried then, what is put in place of what in the command, or nothing
    best: the number of the change that is drawn beside it
    """

    letter: str
    code: str
    command: str
    changes: tuple[dict[str, str], ...]
    best: int

    def commands(self) -> Iterator[tuple[str, str, str]]:
        """Name, what was changed, and command: the run itself first."""
        yield self.letter, "as it was", self.command
        for number, change in enumerate(self.changes, 1):
            words, command = [], self.command
            for old, new in change.items():
                words.append(f"`{new}`" if new else f"no `{old}`")
                command = command.replace(old, new).replace("  ", " ")
            yield f"{self.letter}{number}", ", ".join(words), command


CASES = (
    Case(
        "a",
        "TW101",
        f"thalweg fit digits --model classifier:small {COMMON} --optimizer momentum --lr 0.1 "
        "--schedule constant --batch-size 8 --epochs 12",
        (
            {"--epochs 12": "--epochs 24"},
            {"--schedule constant": "--schedule cosine"},
            {"--lr 0.1": "--lr 0.01"},
        ),
        best=3,
    ),
    Case(
        "b",
        "TW201",
        f"thalweg fit few --model classifier:large {COMMON} --optimizer sgd --lr 0.1 "
        "--schedule constant --batch-size 16 --epochs 400",
        (
            {"--lr 0.1": "--lr 0.03"},
            {"--lr 0.1": "--lr 0.2"},
            {"--optimizer sgd": "--optimizer sgd:weight_decay=0.01"},
            {"--augment none": "--augment shift"},
            {"classifier:large": "classifier:small"},
            {"fit few": "fit digits", "--epochs 400": "--epochs 27"},
        ),
        best=6,
    ),
    Case(
        "c",
        "TW105",
        f"thalweg fit digits --model classifier:small {COMMON} --optimizer sgd --lr 0.1 "
        "--schedule cosine --horizon 87 --batch-size 32 --epochs 30 --seed 1",
        ({"--lr 0.1": "--lr 0.01"}, {"--lr 0.1": "--lr 0.3"}, {"--horizon 87": ""}),
        best=3,
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the runs; print what is said of them and their numbers, or write both into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stops_improving")
    parser.add_argument("--to", type=Path, default=Path("stops-improving"))
    parser.add_argument("--write", action="store_true", help="the generated parts of the page")
    asked = parser.parse_args(arguments)
    prepare(asked.to)
    for case in CASES:
        logs = {name: made(asked.to, name, command) for name, _, command in case.commands()}
        said, numbers = diagnosis(asked.to, case.letter), table(case, logs)
        if asked.write:
            PICTURES.mkdir(exist_ok=True)
            drawn = picture(f"Run {case.letter}", list(panels(case, logs)))
            (PICTURES / f"stops-improving-{case.letter}.svg").write_text(drawn, encoding="utf-8")
            write({f"diagnosis of {case.letter}": said, f"numbers of {case.letter}": numbers})
        else:
            print(f"{said}\n\n{numbers}\n")
    return 0


def prepare(folder: Path) -> None:
    """The pictures as files, in a folder for each class, and the networks; a folder that is not
    empty must be one that this made before, and is made anew.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "classifier.py").exists():
            raise SystemExit(f"{folder} holds other files: give a new folder, --to FOLDER")
        shutil.rmtree(folder)
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    ends = np.cumsum(list(SPLITS.values()))
    for split, rows in zip(SPLITS, np.split(order, ends[:-1]), strict=True):
        few = rows[:FEW] if split == "train" else rows
        for name, some in (("digits", rows), ("few", few)):
            for row in some:
                file = folder / name / split / str(digits.target[row]) / f"{row:04d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = (digits.images[row] * 255 / 16).astype(np.uint8)
                Image.fromarray(pixels).save(file)
    (folder / "classifier.py").write_text(CLASSIFIERS, encoding="utf-8")


def made(folder: Path, name: str, command: str) -> Log:
    """The run of a command, as the log that diagnose sees."""
    words = [*shlex.split(command)[1:], "--name", name, "--quiet"]
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        thalweg(words)
    return as_log(read(folder / "runs" / name), name)


def diagnosis(folder: Path, name: str) -> str:
    """What `thalweg diagnose` prints of a run, but for what it could not check."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        thalweg(["diagnose", name])
    text, _, _ = printed.getvalue().partition("\nnot checked:")
    return f"```text\n{text.rstrip()}\n```"


HEAD = (
    "run",
    "validation loss",
    "right of 450",
    "moves by",
    "lowest",
    "training loss",
    "rate",
)


def table(case: Case, logs: dict[str, Log]) -> str:
    """The numbers that tell the causes apart: at the end of the run, but for the lowest."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [(words, *numbers(logs[name])) for name, words, _ in case.commands()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def numbers(log: Log) -> tuple[str, ...]:
    """Medians: of the last five evaluations, of the moves in the second half, of 100 steps."""
    loss, accuracy = log.series["validation_loss"], log.series["validation_accuracy"].values
    moves = np.abs(np.diff(loss.values[len(loss) // 2 :]))
    best = int(loss.values.argmin())
    return (
        f"{np.median(loss.values[-5:]):.3f}",
        f"{np.median(accuracy[-5:]):.1%}",
        f"{np.median(moves):.3f}",
        f"{loss.values[best]:.3f} at step {loss.steps[best]:,.0f}",
        f"{np.median(log.series['loss'].values[-100:]):.1g}",
        f"{log.series['lr'].values[-1]:.1g}",
    )


def panels(case: Case, logs: dict[str, Log]) -> Iterator[Panel]:
    """The losses of the run; and its accuracy beside that of a run that goes on."""
    log, better = logs[case.letter], logs[f"{case.letter}{case.best}"]
    loss = log.series["loss"]
    calm = Series("loss", *smooth(loss.steps, loss.values))
    first = diagnose(log).findings[0]
    yield Panel(
        [
            Line("training loss, smoothed", "train", calm),
            Line("validation loss", "checks", log.series["validation_loss"]),
        ],
        [Mark(first.since_step, f"{first.code} from here", "said")],
    )
    _, words, _ = list(case.commands())[case.best]
    yield Panel(
        [
            Line("accuracy", "checks", log.series["validation_accuracy"]),
            Line(f"with {words.replace('`', '')}", "twin", better.series["validation_accuracy"]),
        ]
    )


def write(parts: dict[str, str]) -> None:
    """Put texts between their marks in the page."""
    text = PAGE.read_text(encoding="utf-8")
    for name, part in parts.items():
        start, end = START.format(name), END.format(name)
        text, count = re.subn(
            f"{re.escape(start)}.*?{re.escape(end)}",
            lambda _, new=f"{start}\n\n{part}\n\n{end}": new,
            text,
            flags=re.DOTALL,
        )
        assert count == 1, name
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
