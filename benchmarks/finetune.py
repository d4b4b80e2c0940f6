"""Which rate wins when MiniLM is fine-tuned on mails, beside training it from scratch.

    python -m benchmarks.finetune

Every variant sees the same mails, in the same order; the test mails are looked at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import thalweg
from benchmarks import mails, minilm
from benchmarks.facts import RESULTS, machine, table, write_json

VARIANTS: dict[str, dict[str, Any]] = {
    "scratch, lr 1e-3": {"lr": 1e-3},
    "scratch, lr 1e-4": {"lr": 1e-4},
    "init, lr 1e-3": {"init": True, "lr": 1e-3},
    "init, lr 1e-4": {"init": True, "lr": 1e-4},
    "init, lr 3e-5": {"init": True, "lr": 3e-5},
    "init, lr 1e-5": {"init": True, "lr": 1e-5},
    "init, default: 1e-5, head 1e-3": {"init": True},
    "init, body frozen, lr 1e-3": {"init": True, "freeze": "embeddings.*,encoder.*"},
    "init, lr 1e-4, layer decay 0.8": {"init": True, "lr": 1e-4, "layer_decay": 0.8},
}
LENGTH, BATCH_SIZE, TEST = 48, 16, 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit every variant, print the table, write the JSON."""
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    facts = machine(threads=asked.threads)
    train, validation, test = parts(asked.rows)
    rows = []
    for name, settings in VARIANTS.items():
        rows += [row(name, dict(settings), train, validation, test, seed, asked.epochs)
                 for seed in range(asked.seeds)]  # fmt: skip
        print(shown(rows[-asked.seeds :]), flush=True)
    settings = {"rows": asked.rows, "epochs": asked.epochs, "tokens": LENGTH, "batch": BATCH_SIZE}
    write_json({"schema": 1, "machine": facts, "settings": settings, "rows": rows}, asked.to)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finetune", description="Rates of fine-tuning, MiniLM on mails."
    )
    parser.add_argument("--rows", type=int, default=600, help="mails to train on (default 600)")
    parser.add_argument("--epochs", type=int, default=2, help="(default 2)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0, 1, ... (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--to", type=Path, default=RESULTS / "finetune.json", metavar="FILE")
    return parser.parse_args(arguments)


def parts(rows: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Mails to train on, a third as many to validate, and 1,000 to test; drawn once."""
    frame = mails.load().unique("text", maintain_order=True)
    frame = frame.sample(rows + rows // 3 + TEST, shuffle=True, seed=0)
    ids = minilm.tokens([text[:4000] for text in frame["text"]], LENGTH)
    labels = torch.tensor([kind == "spam" for kind in frame["kind"]]).long()
    ends = [rows, rows + rows // 3, len(ids)]
    starts = [0, *ends[:-1]]
    return [(ids[i:j], labels[i:j]) for i, j in zip(starts, ends, strict=True)]


def row(
    name: str,
    settings: dict[str, Any],
    train: Any,
    validation: Any,
    test: Any,
    seed: int,
    epochs: int,
) -> dict[str, Any]:
    """One variant: what it scored, and how far the body moved."""
    if settings.pop("init", False):
        settings["init"] = str(minilm.weights())
    run = thalweg.fit(
        train,
        model=minilm.MiniLM(2, seed=seed),
        loss="cross_entropy",
        validation=validation,
        test=test,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        seed=seed,
        out=None,
        quiet=True,
        **settings,
    )
    tuning = run.result.get("fine_tuning", {})
    moved = [layer["moved"] for layer in tuning.get("layers", ()) if layer["moved"] is not None]
    return {
        "variant": name,
        "seed": seed,
        "accuracy": run.result["test"]["accuracy"],
        "loss": run.result["test"]["loss"],
        "moved_most": max(moved, default=None),
        "steps": run.result["steps"],
        "seconds": run.result["seconds"],
    }


def shown(rows: list[dict[str, Any]]) -> str:
    """The rows as a plain table."""
    cells = [
        (
            row["variant"],
            str(row["seed"]),
            f"{row['accuracy']:.1%}",
            f"{row['loss']:.3f}",
            "" if row["moved_most"] is None else f"{row['moved_most']:.2%}",
            f"{row['seconds']:.0f} s",
        )
        for row in rows
    ]
    return table(("variant", "seed", "accuracy", "loss", "moved most", "time"), cells)


if __name__ == "__main__":
    sys.exit(main())
