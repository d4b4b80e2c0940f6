"""thalweg beside scikit-learn's MLP, skorch and Lightning: quality, and time to the same loss.

    python -m benchmarks.fit --sets digits,letter,diamonds --seeds 3

One process; for each set and seed all contenders one after another, in an order that rotates with
the seed; same split, features, batch size, rate, network and stopping rule for all.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from benchmarks.contenders import CONTENDERS, trainer
from benchmarks.data import DataError, Table, load
from benchmarks.facts import RESULTS, machine, table, warn_if_busy, write_json
from benchmarks.network import HIDDEN, LR
from benchmarks.problem import CLASSIFICATION, SETTINGS, Problem, pose
from benchmarks.referee import PATIENCE, Referee

# The loss to be reached is the worst contender's best validation loss, and this much more.
SLACK = 1.01

# Ratios of time are to this one; the claims leave out the floor, which is no library.
OURS = "thalweg"
FLOOR = "hand-written"


@dataclass(frozen=True)
class Run:
    """One contender on one set with one seed; seconds to the loss that all of them reached."""

    set: str
    seed: int
    contender: str
    referee: Referee
    seconds_to_loss: float

    @property
    def seconds_per_epoch(self) -> float:
        """Wall time of an epoch, the library's set-up shared among them."""
        return self.referee.trace[-1].seconds / len(self.referee.trace)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    warn_if_busy()
    facts = machine(threads=asked.threads)
    contenders = installed(asked.contenders)

    try:
        tables = [load(name) for name in asked.sets]
    except DataError as error:
        print(error, file=sys.stderr)
        return 1

    runs: list[Run] = []
    with threadpool_limits(asked.threads):
        for loaded in tables:
            print(loaded, file=sys.stderr)
            for seed in range(asked.seeds):
                problem = pose(loaded, SETTINGS[loaded.name], seed=seed)
                runs += compared(loaded.name, problem, contenders, seed=seed)

    rows = [row for name in asked.sets for row in summary(name, contenders, runs)]
    print(shown(rows))
    for run in runs:
        warn_if_disturbed(run)
    for name in asked.sets:
        print(claim(name, rows))
    write_json(report(facts, tables, rows, runs), asked.to)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; sets and contenders are lists of known names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fit",
        description="Quality, and time to the same validation loss, beside the peers.",
    )
    parser.add_argument("--sets", type=names_of(SETTINGS), default=["digits", "letter", "diamonds"])
    parser.add_argument("--contenders", type=names_of(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="of torch and BLAS (default 1)")
    parser.add_argument("--to", type=Path, default=RESULTS / "fit.json", metavar="FILE")
    return parser.parse_args(arguments)


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """A parser of `a,b,c` that knows which names there are."""

    def parsed(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no {unknown[0]}: there are {', '.join(known)}")
        return names

    return parsed


def installed(names: Sequence[str]) -> list[str]:
    """The contenders whose packages are here; the others are named and left out."""
    found = []
    for name in names:
        try:
            trainer(name)
        except ImportError as missing:
            print(f"without {name}: {missing}", file=sys.stderr)
        else:
            found.append(name)
    return found


def compared(name: str, problem: Problem, contenders: Sequence[str], *, seed: int) -> list[Run]:
    """All contenders on one problem: a warm-up epoch each, then the runs, then the common loss."""
    if seed == 0:
        for contender in contenders:
            refereed(contender, problem, seed=seed, num_epochs=1)

    shift = seed % len(contenders)
    order = [*contenders[shift:], *contenders[:shift]]
    referees = {
        contender: refereed(contender, problem, seed=seed, num_epochs=problem.num_epochs)
        for contender in order
    }

    target = SLACK * max(referee.best_loss for referee in referees.values())
    return [
        Run(name, seed, contender, referees[contender], referees[contender].seconds_to(target))
        for contender in contenders
    ]


def refereed(contender: str, problem: Problem, *, seed: int, num_epochs: int) -> Referee:
    """One run under a fresh referee."""
    referee = Referee(problem, num_epochs=num_epochs)
    trainer(contender)(problem, referee, seed=seed)
    return referee


def warn_if_disturbed(run: Run) -> None:
    """Say so where a run had to wait for a processor: its time is then not its own."""
    waited = run.referee.trace[-1].seconds / run.referee.cpu_seconds - 1
    if waited > 0.05:
        where = f"{run.set}, seed {run.seed}, {run.contender}"
        print(f"notice: {where} waited {waited:.0%} of its time; measure again", file=sys.stderr)


def summary(name: str, contenders: Sequence[str], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a contender: medians over the seeds, and the spread (largest less smallest)."""
    of_set = [run for run in runs if run.set == name]
    ours = {run.seed: run for run in of_set if run.contender == OURS}
    return [
        row([run for run in of_set if run.contender == contender], ours) for contender in contenders
    ]


def row(runs: Sequence[Run], ours: dict[int, Run]) -> dict[str, Any]:
    """One contender on one set.

    `ratio` is its time to the common loss over ours with the same seed, `epoch_ratio` its time for
    an epoch over ours: the first holds the luck of the seed, the second does not. `difference` is
    our test metric less its own, seed by seed: [mean, standard error].
    """
    metrics = [run.referee.test.metric for run in runs]
    pairs = [(run, ours[run.seed]) for run in runs if run.seed in ours]
    differences = [own.referee.test.metric - run.referee.test.metric for run, own in pairs]
    ratios = [run.seconds_to_loss / own.seconds_to_loss for run, own in pairs]
    epoch_ratios = [run.seconds_per_epoch / own.seconds_per_epoch for run, own in pairs]
    is_classes = SETTINGS[runs[0].set].kind == CLASSIFICATION
    return {
        "set": runs[0].set,
        "contender": runs[0].contender,
        "metric": "accuracy" if is_classes else "rmse",
        "test": round(statistics.median(metrics), 5),
        "spread": round(max(metrics) - min(metrics), 5),
        "validation_loss": round(statistics.median(run.referee.best_loss for run in runs), 6),
        "best_epoch": statistics.median(run.referee.best_epoch + 1 for run in runs),
        "seconds_per_epoch": round(statistics.median(run.seconds_per_epoch for run in runs), 5),
        "seconds_to_loss": round(statistics.median(run.seconds_to_loss for run in runs), 4),
        "ratio": round(statistics.median(ratios), 3) if pairs else None,
        "epoch_ratio": round(statistics.median(epoch_ratios), 3) if pairs else None,
        "difference": mean_and_error(differences) if len(pairs) > 1 else None,
    }


def mean_and_error(values: Sequence[float]) -> list[float]:
    """Mean and standard error of two values or more."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return [round(statistics.mean(values), 5), round(error, 5)]


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a plain table; a time is followed by its ratio to ours."""
    heads = ["set", "contender", "test", "spread", "best loss", "at epoch"]
    heads += ["ms an epoch", "ratio", "s to same loss", "ratio"]
    return table(
        heads,
        [
            [
                row["set"],
                row["contender"],
                f"{row['test']:.4g} {row['metric']}",
                f"{row['spread']:.2g}",
                f"{row['validation_loss']:.4g}",
                f"{row['best_epoch']:g}",
                f"{1e3 * row['seconds_per_epoch']:.1f}",
                times(row["epoch_ratio"]),
                f"{row['seconds_to_loss']:.2f}",
                times(row["ratio"]),
            ]
            for row in rows
        ],
    )


def times(ratio: float | None) -> str:
    """A ratio as text; a dash where ours did not run."""
    return "-" if ratio is None else f"{ratio:.2f}x"


def claim(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """One line on one set: is ours as good as the best peer, within its spread, and faster?"""
    of_set = {row["contender"]: row for row in rows if row["set"] == name}
    ours = of_set.get(OURS)
    peers = [row for contender, row in of_set.items() if contender not in (OURS, FLOOR)]
    if ours is None or not peers:
        return f"{name}: nothing to compare"

    is_better = max if ours["metric"] == "accuracy" else min
    best = is_better(peers, key=lambda row: row["test"])
    behind = abs(best["test"] - ours["test"])
    is_good = behind <= best["spread"] or is_better(best["test"], ours["test"]) == ours["test"]
    quickest = min(row["ratio"] for row in peers)
    difference = best["difference"]
    paired = "{:+.2g} +- {:.1g} seed by seed".format(*difference) if difference else "one seed"
    return (
        f"{name}: {ours['metric']} {ours['test']:.4g} {'holds' if is_good else 'FAILS'} against "
        f"{best['contender']}'s {best['test']:.4g} (spread {best['spread']:.2g}; {paired}); "
        f"{'faster' if quickest > 1 else 'NOT FASTER'}: the quickest peer takes {times(quickest)}"
    )


def report(
    facts: dict[str, Any], tables: Sequence[Table], rows: list[dict[str, Any]], runs: Sequence[Run]
) -> dict[str, Any]:
    """Everything behind the table: facts, settings, rows, and each run's trace.

    A trace is a list of [training seconds, validation loss, validation metric], one an epoch.
    """
    return {
        "schema": 1,
        "machine": facts,
        "data": [{"set": loaded.name, "checksum": loaded.checksum} for loaded in tables],
        "settings": {"hidden": HIDDEN, "lr": LR, "patience": PATIENCE, "slack": SLACK},
        "batch_sizes": {loaded.name: SETTINGS[loaded.name].batch_size for loaded in tables},
        "rows": rows,
        "runs": [traced(run) for run in runs],
    }


def traced(run: Run) -> dict[str, Any]:
    """One run as JSON."""
    return {
        "set": run.set,
        "seed": run.seed,
        "contender": run.contender,
        "test": round(run.referee.test.metric, 6),
        "best_epoch": run.referee.best_epoch + 1,
        "seconds_to_loss": round(run.seconds_to_loss, 5),
        "cpu_seconds": round(run.referee.cpu_seconds, 3),
        "trace": [
            [
                round(mark.seconds, 5),
                round(mark.validation.loss, 7),
                round(mark.validation.metric, 6),
            ]
            for mark in run.referee.trace
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
