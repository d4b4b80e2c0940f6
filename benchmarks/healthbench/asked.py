"""The options by which a command is told which tasks it is about."""

from __future__ import annotations

import argparse

from benchmarks.healthbench.portions import PORTIONS, TUNING


def add_part(parser: argparse.ArgumentParser, default: str | None = TUNING) -> None:
    """`--held-out`, `--unseen`, `--fresh` and `--third`; the part is then `asked.part`."""
    parser.set_defaults(part=default)
    group = parser.add_mutually_exclusive_group()
    for part, portion in PORTIONS.items():
        if part != TUNING:
            group.add_argument(
                f"--{part}", dest="part", action="store_const", const=part, help=portion.text
            )
