"""Why the defaults of `fit` are what they are: each beside its neighbours, on three sets.

    python -m benchmarks.defaults --seeds 2 --to benchmarks/results/defaults.json

Every row is a whole `thalweg.fit` with one default changed; the figures are means over the seeds.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import nn

import thalweg
from benchmarks.data import load
from benchmarks.facts import RESULTS, machine, table, write_json
from thalweg.errors import UsageError
from thalweg.tasks.models import build

SETS = ("spambase", "letter", "diamonds")


@dataclass(frozen=True)
class Change:
    """One default changed: settings of fit, and the layer that normalises (None: LayerNorm)."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    norm: Callable[[int], nn.Module] | None = None


CHANGES = (
    Change("as it is"),
    *(Change(f"epochs {count}", {"epochs": count}) for count in (5, 10, 20, 80)),
    *(Change(f"batch size {size}", {"batch_size": size}) for size in (32, 128, 512)),
    *(Change(f"lr {lr:g}", {"lr": lr}) for lr in (3e-4, 3e-3)),
    *(Change(f"warmup {steps}", {"warmup": steps}) for steps in (0, 500)),
    *(Change(f"schedule {name}", {"schedule": name}) for name in ("linear", "constant")),
    *(Change(f"patience {count}", {"patience": count}) for count in (5, 20)),
    *(Change(f"model {name}", {"model": name}) for name in ("linear", "mlp:256,256", "resmlp")),
    *(Change(f"ema {decay:g}", {"ema": decay}) for decay in (0, 0.998)),
    *(Change(f"label smoothing {x:g}", {"label_smoothing": x}) for x in (0, 0.05)),
    Change("no normalisation", norm=lambda width: nn.Identity()),
    Change("batch normalisation", norm=nn.BatchNorm1d),
    *(Change(f"optimizer {name}", {"optimizer": name}) for name in ("sgd", "momentum", "adam")),
)


def main() -> int:
    """Run every change on every set; print the table and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defaults", description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--to", type=Path, default=RESULTS / "defaults.json", metavar="FILE")
    asked = parser.parse_args()

    rows = []
    for name in asked.sets:
        loaded = load(name)
        for change in CHANGES:
            try:
                rows.append(measured(loaded, change, asked.seeds))
            except UsageError as error:  # labels are smoothed of classes only
                print(f"{name} without {change.name}: {error}", file=sys.stderr)
                continue
            print(" ".join(str(value) for value in rows[-1].values()), file=sys.stderr)
    print(table(list(rows[0]), [[str(value) for value in row.values()] for row in rows]))
    write_json({"machine": machine(threads=1), "seeds": asked.seeds, "rows": rows}, asked.to)
    return 0


def measured(loaded: Any, change: Change, seeds: int) -> dict[str, Any]:
    """Means over the seeds of one change on one set."""
    results = []
    with normalised(change.norm):
        for seed in range(seeds):
            run = thalweg.fit(
                loaded.frame,
                target=loaded.target,
                seed=seed,
                threads=1,
                out=None,
                quiet=True,
                **change.settings,
            )
            results.append(run.result)
    metric = "accuracy" if "accuracy" in results[0]["test"] else "rmse"
    return {
        "set": loaded.name,
        "change": change.name,
        "metric": metric,
        "test": mean_or_none(result["test"][metric] for result in results),
        "validation loss": mean_or_none(plain_loss(result["validation"]) for result in results),
        "steps": round(statistics.mean(result["steps"] for result in results)),
        "seconds": round(statistics.mean(result["seconds"] for result in results), 1),
    }


def plain_loss(values: dict[str, float]) -> float:
    """The loss; of smoothed labels the surprise at the true ones."""
    return values.get("log_loss", values["loss"])


def mean_or_none(values: Iterable[float]) -> float | None:
    """The mean to four places; None where a run diverged."""
    mean = statistics.mean(values)
    return round(mean, 4) if math.isfinite(mean) else None


@contextmanager
def normalised(norm: Callable[[int], nn.Module] | None) -> Iterator[None]:
    """The MLP is built with another layer in the place of its LayerNorm."""
    if norm is None:
        yield
        return

    def mlp(
        num_inputs: int, widths: Sequence[int], num_outputs: int, *, dropout: float
    ) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in pairwise([num_inputs, *widths]):
            layers += [nn.Linear(before, after), norm(after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], num_outputs))

    own, build.mlp = build.mlp, mlp
    try:
        yield
    finally:
        build.mlp = own


if __name__ == "__main__":
    sys.exit(main())
