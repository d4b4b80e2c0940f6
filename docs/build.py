"""Write what the docs say twice from the one place where it stands: `python docs/build.py`.

docs/defaults.md and the settings come from the code; the README's file map from the first line of
every file; parts of docs/optimizers.md from the rules; docs/findings and docs/glossary.md from what
`thalweg explain` says. A test fails when one is out of date.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import build_findings
import build_optimizers

from thalweg.jobs import defaults
from thalweg.jobs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "thalweg"
README, DEFAULTS = ROOT / "README.md", ROOT / "docs" / "defaults.md"
OPTIMIZERS = ROOT / "docs" / "optimizers.md"

FOLDERS = (
    ("", "words and face"),
    ("rules", "floor 1"),
    ("schedules", "floor 1"),
    ("guard", "floor 1"),
    ("backends", "floor 2"),
    ("record", "floor 2"),
    ("record/foreign", "floor 2"),
    ("scale", "floor 2"),
    ("optim", "floor 3"),
    ("state", "floor 3"),
    ("tasks", "floor 3"),
    ("tasks/table", "floor 3"),
    ("tasks/images", "floor 3"),
    ("tasks/models", "floor 3"),
    ("tasks/losses", "floor 3"),
    ("tasks/mattered", "floor 3"),
    ("tasks/text", "floor 3"),
    ("probes", "floor 3"),
    ("health", "floor 3"),
    ("draw", "floor 3"),
    ("loop", "floor 4"),
    ("trials", "floor 5"),
    ("jobs", "floor 7"),
    ("adapters", "floor 8"),
    ("cli", "floor 8"),
)
START, END = "<!-- {}: written by docs/build.py -->", "<!-- end of {} -->"


def defaults_page() -> str:
    """docs/defaults.md."""
    lines = [
        "# Defaults and settings of `fit`",
        "",
        "What `fit` chooses where you do not. Each value was compared with its neighbours on three",
        "sets by `python -m benchmarks.defaults`.",
        "",
        "| default | rule |",
        "|---|---|",
        *(f"| `{row.name}` | {row.rule} |" for row in defaults.TABLE),
        "",
        "Every setting: `--batch-size` on the command line is `batch_size` in Python.",
        "",
        "| setting | what it is |",
        "|---|---|",
        *(f"| `{row.name}` | {row.metadata['help']} |" for row in fields(Settings)),
    ]
    return "\n".join(lines) + "\n"


def file_map() -> str:
    """One line for every file of the package, by folder and floor."""
    lines = ["```text"]
    for folder, floor in FOLDERS:
        files = sorted((PACKAGE / folder).glob("*.py"))
        lines.append(f"src/thalweg/{folder + '/' if folder else ''}  ({floor})")
        lines += [f"  {file.name:<16}{first_line(file)}" for file in files]
    lines += [f"{name:<18}{text}" for name, text in around()]
    return "\n".join([*lines, "```"])


def around() -> Iterator[tuple[str, str]]:
    """The other places of the repository."""
    yield "tests/", "lists times laws; `make test`"
    yield "benchmarks/", "every number in this README, peers in the same run"
    yield "docs/", "pages, partly written by docs/build.py"
    yield "LOG.md", "decisions and measurements, dated, with what did not work"


def first_line(file: Path) -> str:
    """The first line of a file's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]


def readme_with_map(text: str) -> str:
    """The README with its file map as it should be."""
    return filled(text, {"the file map": file_map()})


def optimizers_page(text: str) -> str:
    """docs/optimizers.md with its generated parts as they should be."""
    parts = {
        "the table of optimizers": build_optimizers.table(),
        "each optimizer": build_optimizers.each(),
        "options": build_optimizers.options(),
    }
    return filled(text, parts)


def filled(text: str, parts: dict[str, str]) -> str:
    """A page with new text between the marks of each part."""
    for name, part in parts.items():
        start, end = START.format(name.removeprefix("the ")), END.format(name)
        before, rest = text.split(start)
        text = f"{before}{start}\n\n{part}\n\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    DEFAULTS.write_text(defaults_page(), encoding="utf-8")
    OPTIMIZERS.write_text(optimizers_page(OPTIMIZERS.read_text(encoding="utf-8")), encoding="utf-8")
    build_findings.write()
    README.write_text(readme_with_map(README.read_text(encoding="utf-8")), encoding="utf-8")
