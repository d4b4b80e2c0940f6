"""`thalweg explain`: every finding has its page, every word that is printed its sentences."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import build_findings
import pytest

from thalweg.cli.main import app, main
from thalweg.draw import explained, sentences
from thalweg.errors import UsageError
from thalweg.health.codes import CODES
from thalweg.health.pages import FOLDER, constants_of, page_of
from thalweg.health.words import SPELLED
from thalweg.jobs import defaults, settings
from thalweg.jobs.explain import as_text, explain
from thalweg.jobs.splits import SPLITS
from thalweg.jobs.terms import FOLDER as TERMS
from thalweg.jobs.terms import THEMES, key, terms
from thalweg.optim import OPTIMIZERS
from thalweg.rules.clips import WORDS
from thalweg.schedules import BUILDERS
from thalweg.tasks.images.words import AUGMENTS
from thalweg.tasks.metrics import METRICS
from thalweg.tasks.models.spelling import FORMS
from thalweg.tasks.objectives import OBJECTIVES
from thalweg.tasks.table.kinds import KINDS
from thalweg.types import MEASURES, Mode, State, Status

FILES = sorted((FOLDER / "findings").glob("*.toml"))
NUMBER = re.compile(r"\{(\w+)\.(\w+)")
PLAIN = re.compile(r"[\w\s.,;:()'\"?/<>=+*%&^~|`\[\]{}$€_–-]*")  # noqa: RUF001
"""Letters, digits, and the signs of plain sentences."""


# the pages of findings


def test_every_code_has_a_page_and_every_page_a_code():
    assert {file.stem for file in FILES} == CODES.keys()


@pytest.mark.parametrize("code", CODES)
def test_a_page_says_something_in_every_part(code):
    page = page_of(code)
    for text in (page.looks, page.sure, page.wrong):
        assert 80 <= len(text) <= 700
        assert text.endswith(".")
    assert 2 <= len(page.causes) <= 5
    assert 2 <= len(page.remedies) <= 4
    for point in (*page.causes, *page.remedies):
        assert len(point.what) >= 15, point
        assert len(point.then) >= 20, point
        assert point.what.endswith("."), point
        assert point.then.endswith("."), point
    assert len(page.terms) >= 3


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_numbers_of_a_page_are_those_of_the_code(file):
    for name, constant in NUMBER.findall(file.read_text(encoding="utf-8")):
        module = import_module(f"thalweg.health.{name}")
        assert constants_of(name)[constant] == getattr(module, constant)


def test_a_page_follows_the_code(tmp_path, monkeypatch):
    """Were the constant another one, the page would say that one."""
    assert "93%" not in page_of("TW002").sure
    monkeypatch.setattr(
        "thalweg.health.pages.constants_of", lambda name: {"RISE": 0.93, "POINTS": 1}
    )
    assert "93%" in page_of("TW002").sure


def test_pages_name_numbers_of_every_detector_file():
    named = {name for file in FILES for name, _ in NUMBER.findall(file.read_text(encoding="utf-8"))}
    assert {"breaks", "descent", "running", "layers"} <= named


def test_the_remedy_is_the_table_s_in_neutral_words():
    assert "--lr" not in page_of("TW101").remedy
    spelled = page_of("TW101").spelled
    assert "--lr" in spelled["thalweg"]
    assert "learning_rate" in spelled["huggingface"]
    assert page_of("TW308").spelled == {}
    assert {tool for code in CODES for tool in page_of(code).spelled} <= SPELLED.keys()


def test_codes_that_a_text_names_exist():
    texts = [file.read_text(encoding="utf-8") for file in (*FILES, *TERMS.glob("*.toml"))]
    assert {code for text in texts for code in re.findall(r"TW\d+", text)} <= CODES.keys()


# the glossary


def known() -> set[str]:
    return {key(word) for term in terms() for word in term.spellings}


def test_every_theme_has_its_file():
    assert {file.stem for file in TERMS.glob("*.toml")} == THEMES.keys()


@pytest.mark.parametrize("term", terms(), ids=lambda term: term.name)
def test_a_term_is_a_few_plain_sentences(term):
    assert 40 <= len(term.text) <= 420
    assert term.text.endswith((".", "?"))
    assert len(re.findall(r"[.?](?= |$)", term.text)) <= 7
    assert key(term.name) not in [key(word) for word in term.also]


def test_a_name_stands_once():
    names = [key(term.name) for term in terms()]
    assert len(names) == len(set(names))


def test_links_lead_to_terms_and_findings():
    there = {key(term.name) for term in terms()} | {code.lower() for code in CODES}
    for term in terms():
        assert {key(name) for name in term.see} <= there, term.name
        assert key(term.name) not in map(key, term.see)
    for code in CODES:
        assert {key(name) for name in page_of(code).terms} <= there, code


def test_no_term_is_an_island():
    """Each leads to another, is led to, or tells where it is used."""
    led = {key(name) for term in terms() for name in term.see}
    led |= {key(name) for code in CODES for name in page_of(code).terms}
    assert [t.name for t in terms() if not (t.see or t.used or key(t.name) in led)] == []


def test_words_are_plain_letters():
    for file in (*FILES, *TERMS.glob("*.toml")):
        odd = PLAIN.sub("", file.read_text(encoding="utf-8")).replace("#", "")
        assert set(odd) <= set("²!"), (file.name, odd)


# every word that is printed is explained


def options() -> Iterator[tuple[str, str]]:
    """(command, option) of all that --help shows."""
    for command in commands():
        for argument in app[command].assemble_argument_collection():
            for name in argument.names:
                if name.startswith("--"):
                    yield command, name


def commands() -> list[str]:
    return [name for name in app if not name.startswith("-")]


def test_every_command_is_explained():
    assert {"fit", "resume", "diagnose", "explain"} <= set(commands())
    for name in (*commands(), "delete"):
        assert explain(name)["terms"], name


@pytest.mark.parametrize(("command", "option"), list(options()))
def test_every_option_is_explained(command, option):
    assert explain(option)["terms"], f"thalweg {command} {option}"


@pytest.mark.parametrize("row", fields(settings.Settings), ids=lambda row: row.name)
def test_every_setting_is_explained_with_its_help(row):
    name = f"--{row.name.replace('_', '-')}"
    found = [term["options"].get(name) for term in explain(row.name)["terms"]]
    assert any(text and text.startswith(row.metadata["help"]) for text in found), found


CHOICES = {
    "optimizer": OPTIMIZERS,
    "rate": defaults.LR,
    "schedule": BUILDERS,
    "loss": OBJECTIVES,
    "metric": METRICS,
    "printed metric": sentences.METRICS,
    "model": FORMS,
    "task": settings.TASKS,
    "guard": settings.GUARDS,
    "mode": get_args(Mode),
    "precision": settings.PRECISIONS,
    "compile": settings.COMPILE,
    "matmul": settings.MATMUL,
    "malloc": settings.MALLOC,
    "augment": AUGMENTS,
    "split": [text.partition(":")[0] for text in SPLITS],
    "kind": KINDS,
    "clip": WORDS,
    "state": get_args(State),
    "ending": get_args(Status),
    "measure": MEASURES,
    "severity": explained.SEVERITY,
    "event": ("clip", "skip", "rollback", "backoff", "nonfinite", "change", "notice", "diverged"),
}


@pytest.mark.parametrize(
    ("what", "word"), [(what, word) for what, words in CHOICES.items() for word in words]
)
def test_every_choice_is_explained(what, word):
    assert explain(word)["terms"], f"{what} {word}"


def test_uses_are_commands_that_there_are():
    there = set(options())
    for text in (text for term in terms() for text in term.used if text.startswith("thalweg ")):
        words = text.split()[1:]
        option = next((word for word in words if word.startswith("--")), None)
        if option in ("--help", "--version"):
            continue
        assert words[0] in commands(), text
        assert option is None or (words[0], option) in there, text


WORDS_OF_A_REPORT = """
momentum, nesterov, learning rate, warm-up, cosine, batch size, epoch, step, gradient, gradient
norm, clipping, weight decay, EMA, validation loss, overfitting, plateau, perplexity, bits per
byte, accuracy, balanced accuracy, AUC, calibration error, temperature, r2, rmse, pinball,
quantile, baseline, seed, horizon, accumulate, precision, bf16, fp16, loss scale, guard,
rollback, checkpoint, patience, label smoothing, focal, dropout, resmlp, transformer, context,
layer decay, freeze, forgetting, importance, fold, stratified, leakage, drift, confusion,
interval, worst rows, verdict, healthy, finding, confidence, evidence, not checked, decision
tree, naive Bayes, trigram, deviations
"""


@pytest.mark.parametrize("word", WORDS_OF_A_REPORT.replace("\n", " ").split(", "))
def test_words_of_a_report_are_explained(word):
    assert key(word) in known()


# the command


@pytest.mark.parametrize(
    "words", [["learning-rate"], ["learning rate"], ["learning", "rate"], ["lr"], ["--lr"], ["LR"]]
)
def test_a_term_is_found_by_any_spelling(words, capsys):
    assert main(["explain", *words]) == 0
    said = capsys.readouterr().out
    assert said.startswith("learning rate (also lr")
    assert "thalweg fit --lr: learning rate, > 0. By default sgd 0.1" in said


@pytest.mark.parametrize("word", ["TW104", "tw104", "stuck at chance", "stuck_at_chance"])
def test_a_finding_is_found_by_code_and_name(word, capsys):
    assert main(["explain", word]) == 0
    said = capsys.readouterr().out
    assert said.startswith("TW104 stuck at chance (act: the run is not healthy)\n\nWhat it looks")
    assert all(len(line) <= explained.WIDTH for line in said.splitlines())
    assert "overfit 16 samples" in said


def test_a_word_of_two_meanings_gives_both(capsys):
    assert main(["explain", "linear"]) == 0
    said = capsys.readouterr().out
    assert "straight line to 0" in said
    assert "weighted sum" in said


def test_a_word_that_is_a_finding_too_names_its_code():
    for row in CODES.values():
        for term in explain(row.name)["terms"]:
            assert row.code in term["see"], (row.code, term["name"])


def test_alone_it_lists_all(capsys):
    assert main(["explain"]) == 0
    said = capsys.readouterr().out
    assert all(f"{row.code} {row.name}" in said for row in CODES.values())
    assert all(term.name in said for term in terms())
    assert all(len(line) <= explained.WIDTH for line in said.splitlines())


def test_json(capsys):
    assert main(["explain", "TW002", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == 1
    assert (said["command"], said["asked"], said["terms"]) == ("explain", "TW002", [])
    (page,) = said["findings"]
    assert page["code"] == "TW002"
    assert page["causes"][0].keys() == {"what", "then"}
    assert main(["explain", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["asked"] is None
    assert len(said["findings"]) == len(CODES)
    assert len(said["terms"]) == len(terms())


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("lerning rate", "'learning rate'"),
        ("momentun", "'momentum'"),
        ("TW999", ""),
        ("divergense", "'divergence'"),
    ],
)
def test_an_unknown_word_is_one_line(word, hint, capsys):
    assert main(["explain", word]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"thalweg: {word!r} is no code and no term")
    assert said.err.count("\n") == 1
    assert hint in said.err
    assert "thalweg explain lists them all" in said.err


def test_no_word_at_all_is_unknown():
    with pytest.raises(UsageError, match="'§' is no code"):
        explain("§")
    assert as_text(explain("--")).startswith("findings:")


HEAVY = ("torch", "numpy", "polars", "sklearn", "numba", "matplotlib", "thalweg.health.breaks")


@pytest.mark.parametrize("word", ["TW002", "lr", ""])
def test_it_loads_nothing_heavy(word):
    code = f"""
import sys
from thalweg.cli.main import main
main(["explain", *{[word] if word else []}])
print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert len(done.stdout) > 100


# the docs


def test_the_generated_pages_are_fresh():
    assert build_findings.stale() == []


def test_a_stale_page_is_noticed(monkeypatch):
    monkeypatch.setattr(build_findings, "glossary", lambda: "another one")
    assert build_findings.stale() == ["glossary.md"]


def test_a_picture_stands_where_there_is_one(tmp_path, monkeypatch):
    page = page_of("TW002")
    monkeypatch.setattr(build_findings, "PICTURES", tmp_path)
    assert "![" not in build_findings.finding(page)
    drawn = '<svg xmlns="http://www.w3.org/2000/svg"><title>Digits, and so on.</title></svg>'
    (tmp_path / "TW002.svg").write_text(drawn, encoding="utf-8")
    text = build_findings.finding(page)
    assert "(pictures/TW002.svg)" in text
    assert "*A real run. Digits, and so on.*" in text


@pytest.mark.parametrize("code", CODES)
def test_every_finding_has_the_picture_of_a_real_run(code):
    """Small, whole, with its caption, with lines that can be drawn."""
    file = build_findings.PICTURES / f"{code}.svg"
    assert file.stat().st_size < 12_000
    root = ElementTree.parse(file).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert "Planted from" in (root.findtext(f"{space}title") or "")
    paths = [path.get("d") or "" for path in root.iter(f"{space}path")]
    assert len(paths) >= 2
    assert all(re.fullmatch(r"(M|[ML][\d.]+ [\d.]+)+", path) for path in paths)
    assert f"]({file.parent.name}/{code}.svg)" in build_findings.finding(page_of(code))


def test_every_picture_is_of_a_finding():
    assert {file.stem for file in build_findings.PICTURES.iterdir()} == CODES.keys()


LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_links_of_the_generated_pages_lead_somewhere():
    made = build_findings.pages()
    titles = {path: re.findall(r"^#+ (.*)$", text, re.MULTILINE) for path, text in made.items()}
    count = 0
    for path, text in made.items():
        for link in LINK.findall(text):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target in made or Path(target).exists(), (path.name, link)
            there = [build_findings.anchor(title) for title in titles.get(target, [])]
            assert not anchor or there.count(anchor) == 1, (path.name, link)
            count += 1
    assert count > 800
