"""thalweg's defaults beside what people use for tables: test scores on twelve real ones.

    python -m benchmarks.tables --tables spambase,phoneme --seeds 3
    python -m benchmarks.tables --tables letter --add --models "resmlp:256x4;mlp:256,256"

For each table and seed thalweg chooses its split; every peer trains on the rows that thalweg trains
and validates on together, and all are scored by the same function on the same test rows.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, average_precision_score, root_mean_squared_error
from threadpoolctl import threadpool_limits

import thalweg
from benchmarks.data import DataError, Table, load
from benchmarks.facts import RESULTS, machine, table, warn_if_busy, write_json
from benchmarks.fit import names_of
from benchmarks.table_peers import PEERS, Part
from thalweg.jobs.settings import Settings
from thalweg.jobs.study import study_of
from thalweg.tasks.study import Study

OURS, BOOSTING, MLP = "thalweg", "boosting", "scikit-learn MLP"

# Tables, and for each what is compared: accuracy says nothing where a class is rare.
METRICS = {
    "spambase": "accuracy",
    "letter": "accuracy",
    "shuttle": "accuracy",
    "diamonds": "rmse",
    "census": "average precision",
    "flights": "rmse",
    "fraud": "average precision",
    "military": "accuracy",
    "mushroom": "accuracy",
    "phoneme": "accuracy",
    "optdigits": "accuracy",
    "digits": "accuracy",
}
NEAR = 0.01


@dataclass(frozen=True)
class Row:
    """One contender on one table with one seed."""

    table: str
    seed: int
    contender: str
    metric: str
    score: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    warn_if_busy()
    facts = machine(threads=asked.threads)
    rows, checksums = kept(asked.to) if asked.add else ([], {})
    with threadpool_limits(asked.threads):
        for name in asked.tables:
            try:
                loaded = cut(load(name), asked.rows)
            except DataError as error:
                print(f"without {name}: {error}", file=sys.stderr)
                continue
            print(loaded, file=sys.stderr)
            checksums[name] = loaded.checksum
            for seed in range(asked.seeds):
                rows = replaced(rows, compared(loaded, asked, seed))
                write_json(report(facts, checksums, asked, rows), asked.to)
    print(shown(rows))
    for line in claims(rows):
        print(line)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; tables and peers are lists of known names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables",
        description="Test scores of thalweg's defaults beside the peers', on real tables.",
    )
    parser.add_argument("--tables", type=names_of(METRICS), default=list(METRICS))
    everyone = [OURS, *PEERS]
    parser.add_argument("--contenders", type=names_of(everyone), default=everyone)
    models = "further models of thalweg's, with ; between them"
    parser.add_argument("--models", type=lambda text: text.split(";"), default=[], help=models)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default 3)")
    parser.add_argument("--rows", type=int, help="at most so many rows of each table")
    parser.add_argument("--threads", type=int, default=1, help="of torch and BLAS (default 1)")
    parser.add_argument("--add", action="store_true", help="keep what else stands in FILE")
    parser.add_argument("--to", type=Path, default=RESULTS / "tables.json", metavar="FILE")
    return parser.parse_args(arguments)


def cut(loaded: Table, most: int | None) -> Table:
    """The table, or so many of its rows, the same each time."""
    if most is None or loaded.frame.height <= most:
        return loaded
    return Table(loaded.name, loaded.frame.sample(most, seed=0, shuffle=True), loaded.target)


def compared(loaded: Table, asked: argparse.Namespace, seed: int) -> list[Row]:
    """All contenders on one table with one seed."""
    study = study_of(loaded.frame, Settings.of({"target": loaded.target, "seed": seed}))
    contenders: dict[str, Callable[[], np.ndarray]] = {}
    for name in asked.contenders:
        is_ours = name == OURS
        contenders[name] = ours(loaded, study, seed) if is_ours else peer(name, loaded, study, seed)
    for model in asked.models:
        contenders[f"{OURS} {model}"] = ours(loaded, study, seed, model=model)

    rows = []
    for name, predict in contenders.items():
        start = time.perf_counter()
        try:
            predicted = predict()
        except ImportError as missing:
            print(f"without {name}: {missing}", file=sys.stderr)
            continue
        seconds = time.perf_counter() - start
        score = scored(METRICS[loaded.name], predicted, truth(loaded, study))
        row = Row(loaded.name, seed, name, METRICS[loaded.name], round(score, 6), round(seconds, 2))
        rows.append(row)
        print(f"  seed {seed}  {name}  {row.score:.5g}  {row.seconds:.1f} s", file=sys.stderr)
    return rows


def ours(loaded: Table, study: Study, seed: int, **settings: Any) -> Callable[[], np.ndarray]:
    """A whole fit at the defaults, and its predictions for its test rows."""

    def run() -> np.ndarray:
        fitted = thalweg.fit(
            loaded.frame, target=loaded.target, seed=seed, out=None, quiet=True, **settings
        )
        found = fitted.predict(loaded.frame[study.test.rows].drop(loaded.target))
        if study.classes is None:
            return found["prediction"].to_numpy()
        return found.select(f"probability_{name}" for name in study.classes).to_numpy()

    return run


def peer(name: str, loaded: Table, study: Study, seed: int) -> Callable[[], np.ndarray]:
    """A peer on the rows that ours trains and validates on; columns left out are left out."""
    assert study.schema is not None
    known = np.concatenate([study.train.rows, study.validation.rows])
    features = loaded.frame.select(column.name for column in study.schema.columns)
    part = Part(
        train=features[known],
        train_y=targets(study)[known],
        test=features[study.test.rows],
        num_classes=len(study.classes or ()),
    )
    return lambda: PEERS[name](part, seed)


def targets(study: Study) -> np.ndarray:
    """Class ids, or the target in its own unit, of every row of the table."""
    values = np.zeros(study.rows, dtype=np.float64)
    for source in (study.train, study.validation, study.test):
        values[source.rows] = source.targets.numpy()
    return values.astype(np.int64) if study.classes else values * study.deviation + study.mean


def truth(loaded: Table, study: Study) -> np.ndarray:
    """The target of the test rows."""
    return targets(study)[study.test.rows]


def scored(metric: str, predicted: np.ndarray, known: np.ndarray) -> float:
    """Larger is better but for rmse; average precision is that of the rarer of two classes."""
    if metric == "rmse":
        return float(root_mean_squared_error(known, predicted))
    if metric == "accuracy":
        return float(accuracy_score(known, predicted.argmax(axis=1)))
    rare = int(np.bincount(known, minlength=2).argmin())
    return float(average_precision_score(known == rare, predicted[:, rare]))


def kept(path: Path) -> tuple[list[Row], dict[str, str]]:
    """The rows of an earlier run and the checksums of its tables; none where there was none."""
    if not path.exists():
        return [], {}
    found = json.loads(path.read_text())
    return [Row(**row) for row in found["rows"]], {
        each["table"]: each["checksum"] for each in found["data"]
    }


def replaced(rows: list[Row], new: list[Row]) -> list[Row]:
    """The rows with new ones in the place of their like."""
    names = {(row.table, row.seed, row.contender) for row in new}
    return [row for row in rows if (row.table, row.seed, row.contender) not in names] + new


def means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """{table: {contender: mean score over the seeds}}"""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        found.setdefault(row.table, {}).setdefault(row.contender, []).append(row.score)
    return {
        name: {contender: statistics.mean(scores) for contender, scores in of_table.items()}
        for name, of_table in found.items()
    }


def shown(rows: Sequence[Row]) -> str:
    """A line for each table, a column for each contender; spread in brackets."""
    contenders = list(dict.fromkeys(row.contender for row in rows))
    lines = []
    for name, of_table in means(rows).items():
        cells = [cell(name, contender, rows) for contender in contenders]
        lines.append([name, METRICS[name], *cells] if of_table else [])
    return table(["table", "metric", *contenders], lines)


def cell(name: str, contender: str, rows: Sequence[Row]) -> str:
    """The mean, and largest less smallest."""
    scores = [row.score for row in rows if (row.table, row.contender) == (name, contender)]
    if not scores:
        return "-"
    return f"{statistics.mean(scores):.5g} ({max(scores) - min(scores):.2g})"


def claims(rows: Sequence[Row]) -> list[str]:
    """How often ours is ahead of scikit-learn's MLP, and near boosted trees or ahead of them."""
    tables = means(rows)
    both = [name for name, found in tables.items() if {OURS, MLP} <= found.keys()]
    ahead = [name for name in both if gain(tables[name], MLP, name) > 0]
    trees = [name for name, found in tables.items() if {OURS, BOOSTING} <= found.keys()]
    near = [name for name in trees if gain(tables[name], BOOSTING, name) >= -NEAR]
    behind = [
        f"{name} {gain(tables[name], BOOSTING, name):+.1%}" for name in trees if name not in near
    ]
    return [
        f"better than scikit-learn's MLP on {len(ahead)} of {len(both)}: {', '.join(ahead)}",
        f"within 1% of boosted trees, or ahead, on {len(near)} of {len(trees)}: {', '.join(near)}",
        f"further behind boosted trees: {', '.join(behind) or 'none'}",
    ]


def gain(found: dict[str, float], peer: str, name: str) -> float:
    """By which share ours is better than a peer."""
    share = found[OURS] / found[peer] - 1
    return -share if METRICS[name] == "rmse" else share


def report(
    facts: dict[str, Any], checksums: dict[str, str], asked: argparse.Namespace, rows: list[Row]
) -> dict[str, Any]:
    """Everything behind the table."""
    return {
        "schema": 1,
        "machine": facts,
        "data": [{"table": name, "checksum": known} for name, known in checksums.items()],
        "most_rows": asked.rows,
        "means": means(rows),
        "claims": claims(rows),
        "rows": [asdict(row) for row in rows],
    }


if __name__ == "__main__":
    sys.exit(main())
