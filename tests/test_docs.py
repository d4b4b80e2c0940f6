"""The docs say what is true: generated pages are fresh, and the README's examples run."""

from __future__ import annotations

import importlib.util
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from docstrings import sources
from optimizer_notes import NOTES
from sklearn.datasets import load_wine

from thalweg import optim
from thalweg.cli.main import main
from thalweg.errors import UsageError
from thalweg.optim import OPTIMIZERS
from thalweg.record import read as read_record
from thalweg.rules import RULES
from thalweg.rules.language import read
from thalweg.rules.options import OPTIONS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")}
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("thalweg ")
]


def blocks_of(text: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


PYTHON = blocks_of(README)


def module_of(name: str, file: Path, text: str):
    """A file of Python as a module: rules need a file, kernels are made from it."""
    file.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = load_wine(as_frame=True).frame.rename(columns={"target": "kind"})
    frame.to_csv("wine.csv", index=False)
    return tmp_path


def test_generated_pages_are_fresh():
    build = _build()
    assert build.DEFAULTS.read_text(encoding="utf-8") == build.defaults_page()
    assert build.readme_with_map(README) == README
    assert build.optimizers_page(PAGES["optimizers.md"]) == PAGES["optimizers.md"]


def test_a_stale_map_is_noticed():
    build = _build()
    assert build.readme_with_map(README.replace("One training step", "One stale step")) == README


def test_the_map_names_every_folder():
    build = _build()
    files = build.PACKAGE.rglob("*.py")
    folders = {path.parent.relative_to(build.PACKAGE).as_posix() for path in files} - {"."}
    assert folders == {folder for folder, _ in build.FOLDERS if folder}


def test_python_examples_run(wine, capsys):
    assert len(PYTHON) == 5
    names: dict = {}
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert printed.startswith(("finished: ", "improving: "))
    assert names["descent"].ending.reason == printed.splitlines()[-1]


def test_commands_run(wine, capsys):
    assert len(COMMANDS) == 6
    for line in COMMANDS:
        assert main(shlex.split(line)[1:]) == 0
    assert (wine / "predictions.csv").is_file()


def test_the_commands_of_the_resume_page_run(wine, capsys):
    lines = [line for block in blocks_of(PAGES["resume.md"], "sh") for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        assert main(shlex.split(line)[1:]) in (0, 3)
    listed = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split()[0] for row in listed] == ["wine", "gentle"]
    assert listed[1].endswith("from runs/wine, step 75")
    assert read_record("runs/wine").steps["number"][-1] == 75


def test_the_descent_of_the_resume_page_runs_twice(tmp_path, monkeypatch, capsys):
    (block,) = blocks_of(PAGES["resume.md"])
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        exec(compile(block, "resume.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first == second == "the budget of 20 epochs was used up 140"


def test_the_descent_of_the_long_steps_page_runs(capsys):
    (block,) = blocks_of(PAGES["long_steps.md"])
    torch.use_deterministic_algorithms(False)  # it imports the compiler, whose modules warn
    exec(compile(block, "long_steps.md", "exec"), {})
    assert capsys.readouterr().out.startswith("not compiled: all 16 steps take about ")


def test_the_guard_page_shows_what_is_said(capsys):
    """But for numbers, which differ with the weights."""
    (code,) = blocks_of(PAGES["guard.md"])
    (shown,) = blocks_of(PAGES["guard.md"], "text")
    exec(compile(code, "guard.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    said = {re.sub(r"[\d.]+", "N", line) for line in printed}
    assert {re.sub(r"[\d.]+", "N", line) for line in shown.splitlines()} <= said
    assert float(printed[-1]) < 0.2


def test_the_loop_of_the_own_loop_page_goes_on(tmp_path, monkeypatch):
    """Its thirty lines, once in one go and once stopped on the way: the same weights."""
    (block,) = blocks_of(PAGES["own_loop.md"])
    found = []
    for epochs in (("10",), ("4", "10")):
        folder = tmp_path / str(len(epochs))
        folder.mkdir()
        monkeypatch.chdir(folder)
        for last in epochs:
            names: dict[str, Any] = {}
            code = block.replace("epochs=10", f"epochs={last}")
            assert code.count(f"epochs={last}") == 1
            exec(compile(code, "own_loop.md", "exec"), names)
        found.append(names["net"].state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """What a page's headings are called in a link."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(text: str, folder: Path, own: str) -> list[str]:
    """Links of a page whose file or heading is not there."""
    dead = []
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        file = folder / path if path else folder / own
        is_dead = not file.exists()
        if anchor and not is_dead:
            is_dead = anchor not in anchors(file.read_text(encoding="utf-8"))
        if is_dead:
            dead.append(target)
    return dead


def test_links_lead_somewhere():
    assert dead_links(README, ROOT, "README.md") == []
    for name, text in PAGES.items():
        assert dead_links(text, ROOT / "docs", name) == [], name


def test_a_dead_link_is_seen():
    text = "[a](nowhere.md) [b](#nowhere) [c](#start) [d](https://example.org)\n# Start\n"
    assert dead_links(text, ROOT / "docs", "defaults.md") == ["nowhere.md", "#nowhere", "#start"]


# docs/optimizers.md


def test_every_optimizer_and_option_has_its_section():
    page = PAGES["optimizers.md"]
    titles = re.findall(r"^### (\w+)", page, re.MULTILINE)
    classes = dict.fromkeys(named.build.__name__ for named in OPTIMIZERS.values())
    assert titles == [*classes, *OPTIONS]
    for name in OPTIMIZERS:
        assert f"`--optimizer {name}`" in page


def sections() -> dict[str, str]:
    """The page's part on each class."""
    parts = re.split(r"^### ", PAGES["optimizers.md"], flags=re.MULTILINE)[1:]
    by_name = {part.split("\n", 1)[0]: part for part in parts}
    return {name: by_name[name] for name in by_name if name in optim.__all__}


@pytest.mark.parametrize("name", sections())
def test_every_symbol_of_a_formula_is_explained(name):
    """In the legend, by a line of the formula, or in the table of arguments."""
    section = sections()[name]
    told = set(re.findall(r"^\| `([^`\[]+)", section, re.MULTILINE))
    for legend in re.findall(r"^(`.* · .*)$", section, re.MULTILINE):
        told |= set(re.findall(r"`([^`]+)`", legend))
    told |= {"max", "min", "sign", "if", "else", "Σ", "β1", "β2", "α", "ρ"}  # noqa: RUF001
    told |= set(re.findall(r"^`(\w+)` ", section, re.MULTILINE))
    for formula in blocks_of(section, "text"):
        for line in re.findall(r"^    (.*)$", formula, re.MULTILINE):
            target, value = line.split(" ← ")
            symbols = set(re.findall(r"[^\W\d]\w*", value))
            assert symbols <= told, (line, symbols - told)
            told.add(target)


def test_every_hyperparameter_says_what_it_means():
    silent = [(rule.name, row.name) for rule in RULES.values() for row in rule.hypers]
    assert [pair for pair in silent if not RULES[pair[0]].by_name[pair[1]].meaning] == []
    assert "|  |" not in PAGES["optimizers.md"]


def test_every_optimizer_says_when_to_choose_it():
    assert {named.build.__name__ for named in OPTIMIZERS.values()} <= NOTES.keys()


def test_a_matrix_rule_shows_the_lines_of_its_function():
    lines = "\n\n".join(sources(sources))
    assert lines.startswith("def sources(function")
    assert lines.count("def sources(") == 1


def test_the_examples_of_the_optimizers_page_run(capsys):
    names: dict = {}
    for block in blocks_of(PAGES["optimizers.md"]):
        exec(compile(block, "optimizers.md", "exec"), names)
    assert " - own kernels for the CPU\n" in capsys.readouterr().out


def keras_nadam(gradients: list[float], lr: float) -> float:
    """Where Keras's formula ends, from 1; eps aside."""
    x, m, v, product = 1.0, 0.0, 0.0, 1.0
    for t, g in enumerate(gradients, 1):
        now, following = (0.9 * (1 - 0.5 * 0.96**k) for k in (t, t + 1))
        product *= now
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        mean = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
        x -= lr * mean / math.sqrt(v / (1 - 0.999**t))
    return x


def optax_nadam(gradients: list[float], lr: float) -> float:
    """Where optax's formula ends, from 1; eps aside."""
    x, m, v = 1.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        mean = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t)
        x -= lr * mean / math.sqrt(v / (1 - 0.999**t))
    return x


@pytest.mark.parametrize(
    ("formula", "settings"),
    [(keras_nadam, {"momentum_decay": 1.0}), (optax_nadam, {"variant": "constant"})],
)
def test_nadam_is_other_libraries_nadam_where_the_page_says_so(formula, settings):
    gradients = [math.sin(t) + 0.3 for t in range(50)]
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = optim.NAdam([x], lr=0.01, eps=0.0, **settings)
    for g in gradients:
        x.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
    assert x.item() == pytest.approx(formula(gradients, 0.01), rel=1e-12)
    assert abs(keras_nadam(gradients, 0.01) - optax_nadam(gradients, 0.01)) > 1e-3


def test_torchs_classes_are_told_apart():
    for named in OPTIMIZERS.values():
        name = named.build.__name__
        row = next(x for x in PAGES["optimizers.md"].splitlines() if x.startswith(f"| [{name}]("))
        assert row.endswith("| yes |" if hasattr(torch.optim, name) else "| no |")


# docs/own_rule.md


def test_the_examples_of_own_rule_run(tmp_path, capsys):
    page = PAGES["own_rule.md"]
    text = "\n\n".join(blocks_of(page))
    module = module_of("my_rule", tmp_path / "my_rule.py", text)
    assert module.SIGNUM.states == ("m",)
    assert capsys.readouterr().out == blocks_of(page, "text")[0]


def test_the_first_example_has_ten_lines_of_rule():
    first = blocks_of(PAGES["own_rule.md"])[0].splitlines()
    lines = [line for line in first if line and not line.startswith("from ")]
    assert len(lines) <= 10


REFUSED = re.findall(r"^\| `(.*)` \| (`.* is refused: .*) \|$", PAGES["own_rule.md"], re.MULTILINE)


@pytest.mark.parametrize(("line", "told"), REFUSED, ids=[line for line, _ in REFUSED])
def test_a_refusal_reads_as_the_page_says(line, told, tmp_path):
    text = f"def update(p, g, m, lr):\n    {line}\n    return p, m\n"
    module = module_of("refused", tmp_path / "refused.py", text)
    with pytest.raises(UsageError) as caught:
        read(module.update)
    assert str(caught.value) == f"rule function update, line 2: {told}"


def test_refusals_were_found():
    assert len(REFUSED) == 8
