"""The options by which a command is told which tasks it is about."""

from __future__ import annotations

import argparse


def add_part(parser: argparse.ArgumentParser) -> None:
    """`--held-out` and `--unseen`; the part is then `asked.part`, "tuning" without them."""
    parser.set_defaults(part="tuning")
    group = parser.add_mutually_exclusive_group()
    for part, text in (
        ("held-out", "the other five tasks"),
        ("unseen", "eleven tasks that no detector was looked at on"),
    ):
        group.add_argument(f"--{part}", dest="part", action="store_const", const=part, help=text)
