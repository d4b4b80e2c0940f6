"""The report: it stands alone, escapes what users wrote, and its words follow the run's numbers."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from thalweg.draw import curves, scores, sentences
from thalweg.draw.report import render
from thalweg.types import Evaluation, Event

NAN, INF = math.nan, math.inf
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), "")


def columns(loss, *, lr=None, norms=None, per_epoch=10):
    """Steps as a history holds them; None is not measured."""
    numbers = range(1, len(loss) + 1)
    rows = {
        "number": list(numbers),
        "epoch": [n / per_epoch for n in numbers],
        "loss": loss,
        "lr": lr or [0.1] * len(loss),
        "gradient_norm": norms or [None] * len(loss),
    }
    return {name: masked(values) for name, values in rows.items()}


def masked(values):
    gaps = [value is None for value in values]
    return np.ma.array(
        [0.0 if value is None else value for value in values], mask=gaps, dtype=float
    )


def checks(*points, name="loss"):
    """Evaluations of the validation set from (step, value) pairs."""
    return [Evaluation(at, "validation", {name: value}) for at, value in points]


def history(steps=None, evaluations=(), **parts) -> Any:
    """A stand-in for `thalweg.record.history.History`."""
    empty = {"events": [], "settings": {}, "environment": {}, "results": {}}
    steps = columns([]) if steps is None else steps
    return SimpleNamespace(steps=steps, evaluations=list(evaluations), **{**empty, **parts})


def summary(test, tree, constant, kind="classification", **parts):
    name = "accuracy" if kind == "classification" else "rmse"
    return {
        "task": {"kind": kind, "rows": 1797, "features": 64, "classes": 10},
        "optimizer": "adamw",
        "steps": 1260,
        "seconds": 3.14,
        "train": {"loss": 0.01},
        "validation": {"loss": 0.08, name: test},
        "test": {"loss": 0.09, name: test},
        "baselines": {
            "constant": {name: constant, "label": 'always "3"'},
            "tree": {name: tree, "label": "decision tree, depth 6"},
        },
        "verdict": {
            "state": "finished",
            "healthy": True,
            "sentence": "It converged.",
            "findings": [],
        },
        **parts,
    }


def digits():
    """A small whole history of a classification."""
    loss = [2.3 * 0.97**n for n in range(200)]
    evaluations = [
        Evaluation(20 * n, "validation", {"loss": 2.0 / n, "accuracy": 1 - 0.5 / n})
        for n in range(1, 11)
    ]
    matrix = [[18, 0, 0], [1, 16, 1], [0, 4, 14]]
    return history(
        columns(loss, norms=[x if n % 10 == 0 else None for n, x in enumerate(loss)]),
        evaluations,
        events=[Event(200, "best", "validation loss 0.2"), Event(200, "stop", "budget")],
        settings={"lr": 0.1, "until": {"patience": 5, "time": None}},
        environment={"command": "thalweg fit digits.csv --target class", "seed": 0},
        results={
            "summary": summary(0.978, 0.839, 0.1),
            "confusion": {"classes": ["0", "1", "8"], "matrix": matrix},
            "columns": [{"name": "age", "kind": "number", "use": "standardised", "note": ""}],
        },
    )


def houses():
    """A small whole history of a regression."""
    actual = np.linspace(100, 900, 50)
    run = digits()
    answers = {
        "actual": actual.tolist(),
        "predicted": (actual * 1.1 - 40).tolist(),
        "name": "price",
    }
    evaluations = [
        Evaluation(20 * n, "validation", {"loss": 1 / n, "rmse": 90 / n}) for n in range(1, 9)
    ]
    results = {"summary": summary(31.0, 45.0, 99.0, "regression"), "residuals": answers}
    return history(run.steps, evaluations, results=results)


def broken():
    return history(columns([2.0, 1.5, NAN, 1.2, INF, NAN]), checks((3, 1.0), (6, NAN)))


def crowd(count=300, name="class {}"):
    matrix = np.eye(count, dtype=int) * 3
    matrix[7, 8] = 2
    classes = [name.format(i) for i in range(count)]
    return history(results={"confusion": {"classes": classes, "matrix": matrix.tolist()}})


EDGES = {
    "empty": history(),
    "one step": history(columns([2.3], norms=[1.0])),
    "no evaluation": history(columns([2.0, 1.0, 0.5])),
    "all NaN": history(columns([NAN] * 5, norms=[INF] * 5), checks((5, NAN))),
    "some NaN": broken(),
    "huge": history(columns([1e-300, 1.0, 1.7e308, 1.7e308] * 50)),
    "zero": history(columns([0.0] * 120), checks((60, 0.0), (120, 0.0))),
    "one class": history(results={"confusion": {"classes": ["a"], "matrix": [[4]]}}),
    "300 classes": crowd(),
    "long names": crowd(12, "an exceedingly long name " * 20 + "{}"),
    "results without answers": history(results={"summary": {}, "confusion": {}, "residuals": {}}),
    "NaN answers": history(results={"residuals": {"actual": [1.0, 2.0], "predicted": [NAN, NAN]}}),
    "classification": digits(),
    "regression": houses(),
}


def found(pattern, text):
    """The first group of the pattern's first match."""
    match = re.search(pattern, text, flags=re.DOTALL)
    assert match, pattern
    return match[1]


def payload(page):
    return json.loads(found(r'<script type="application/json" id="data">(.*?)</script>', page))


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EDGES)
def test_every_history_gives_a_whole_page(name):
    page = render(EDGES[name], title=name)
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert payload(page).keys() >= {"loss", "metric", "lr", "gradient"}
    assert "$" not in re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("name", EDGES)
def test_the_page_asks_for_nothing_from_outside(name):
    page = re.sub(r"/\*.*?\*/", "", render(EDGES[name], title=name), flags=re.DOTALL)
    assert not re.search(r"https?://|@import|url\(|<iframe|<object|fetch\(|XMLHttpRequest", page)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) <= {"data:,"}


def test_the_policy_lets_only_our_own_scripts_run():
    page = render(digits(), title="run")
    policy = html.unescape(found(r'Content-Security-Policy" content="(.*?)"', page))
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    sums = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert len(sums) == 2
    assert all(each in policy for each in sums)


def test_uplot_comes_with_its_licence():
    page = render(digits(), title="run")
    assert "The MIT License" in page
    assert "Leon Sorokin" in page


@pytest.mark.parametrize("name", EDGES)
def test_every_figure_has_its_sentence(name):
    page = render(EDGES[name], title=name)
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    said = [found(r'<p class="sentence">(.+?)</p>', figure) for figure in figures]
    assert len(figures) == 5
    assert all(text.endswith(".") for text in said)


def test_whatever_a_user_wrote_is_escaped():
    evil = "</script><script>alert(1)</script><b title=\"x\" & 'y'>"
    run = digits()
    run.results["confusion"]["classes"] = [evil, "b", evil]
    run.results["columns"] = [{"name": evil, "kind": evil, "use": "dropped", "note": evil}]
    run.results["summary"]["baselines"]["tree"]["label"] = evil
    finding = {
        "code": evil,
        "name": evil,
        "severity": evil,
        "evidence": {evil: evil},
        "advice": evil,
    }
    verdict = {"state": evil, "sentence": evil, "findings": [finding], "not_checkable": [evil]}
    run.results["summary"] |= {"verdict": verdict, "optimizer": evil}
    run.settings, run.environment = {evil: evil}, {"command": evil, "deep": {evil: [evil]}}
    run.events, run.evaluations = [Event(1, evil, evil)], checks((1, 0.5), (2, 0.6), name=evil)
    page = render(run, title=evil)
    assert page.count("<script") == 3
    assert "alert(1)</script>" not in page
    assert "<b title" not in page
    assert "&lt;b title=&quot;x&quot; &amp; &#x27;y&#x27;&gt;" in page


def test_the_page_is_marked_up_for_readers():
    page = render(digits(), title="digits-1")
    assert '<html lang="en">' in page
    assert "<title>digits-1" in page
    assert page.count("<h1") == 1
    assert len(re.findall(r'role="img" aria-label="[^"]+', page)) == 4
    assert page.count("<table") == page.count("<thead")
    assert 'scope="row"' in page
    assert 'scope="col"' in page


def test_a_model_worse_than_the_tree_is_told_so():
    run = digits()
    run.results["summary"] = summary(0.8, 0.839, 0.8)
    page = html.unescape(render(run, title="run"))
    assert "Worse than decision tree, depth 6: accuracy 80% against 83.9% on the test set." in page
    assert 'No better than always "3": accuracy 80% against 80% on the test set.' in page
    assert "Worse than" not in render(digits(), title="run")
    assert "Worse than" not in render(houses(), title="run")


def test_findings_are_shown_with_evidence_and_advice():
    run = digits()
    evidence = {"loss": NAN, "steps_in_a_row": 3}
    finding = {"code": "TW101", "name": "not finite", "severity": "act", "since_step": 1163}
    finding |= {"confidence": 0.9, "evidence": evidence, "advice": "Lower the learning rate."}
    run.results["summary"]["verdict"] |= {"state": "diverging", "findings": [finding]}
    page = render(run, title="run")
    for words in ("TW101", "since step 1,163", "90% sure", "steps in a row", "NaN", "Lower the"):
        assert words in page


def test_above_thirty_classes_the_pairs_stand_for_the_matrix():
    assert 'class="confusion' in render(crowd(30), title="run")
    page = render(crowd(31), title="run")
    assert 'class="confusion' not in page
    assert "Hardest classes" in page
    assert "class 7</th><td>class 8</td><td>2 of 5" in page


# --- curves ---------------------------------------------------------------------------------------


def test_thinning_keeps_extremes_ends_and_every_step_that_was_not_finite():
    values = np.random.default_rng(0).random(100_000)
    values[[31_234, 77_777]] = [9.0, -9.0]
    values[50_000:50_003] = NAN
    kept = curves.thin(values, 2_000)
    assert len(kept) <= 2_000
    assert kept[0] == 0
    assert kept[-1] == 99_999
    assert {31_234, 77_777, 50_000, 50_002} <= set(kept.tolist())
    assert curves.stretches(np.arange(100_000), values) == [(50_000, 50_002)]
    assert curves.thin(values[:2_000], 2_000).tolist() == list(range(2_000))


def test_thinning_survives_a_run_that_is_broken_everywhere():
    values = np.where(np.arange(20_000) % 2, NAN, 1.0)
    assert len(curves.thin(values, 2_000)) <= 2_000
    assert len(curves.stretches(np.arange(20_000), values)) == 10_000
    assert len(curves.thin(np.full(20_000, NAN), 2_000)) == 2


def test_smoothing_is_the_mean_around_each_step_and_skips_what_is_not_finite():
    numbers, values = np.arange(800), np.arange(800.0)
    values[400] = NAN
    at, means = curves.smooth(numbers, values)
    inner = (at > 10) & (at < 789) & (abs(at - 400) > 10)
    assert np.allclose(means[inner], at[inner])
    assert np.isfinite(means).all()
    assert len(curves.smooth(numbers[:50], values[:50])[0]) == 0


def test_the_loss_is_drawn_on_a_log_scale_when_it_spans_more_than_a_decade_and_a_half():
    assert payload(render(history(columns([1.0, 0.03])), title="run"))["loss"]["log"]
    assert not payload(render(history(columns([1.0, 0.04])), title="run"))["loss"]["log"]
    assert not payload(render(history(columns([1.0, -0.001])), title="run"))["loss"]["log"]


def test_broken_steps_and_events_are_marked():
    loss = payload(render(broken(), title="run"))["loss"]
    assert loss["broken"] == [[3, 3], [5, 6]]
    assert loss["series"][0]["y"] == [2.0, 1.5, None, 1.2, None, None]
    marks = payload(render(digits(), title="run"))["loss"]["marks"]
    assert [mark["label"] for mark in marks] == [
        "best validation loss, step 200",
        "stopped, step 200",
    ]


def test_what_the_guard_did_is_marked_and_what_it_advised_is_not():
    events = [
        Event(2, "skip", "step 2 was skipped", {"done": True}),
        Event(3, "skip", "step 3 would be skipped", {"done": False}),
        *(Event(number, "nonfinite", "the loss was nan") for number in range(4, 20)),
        Event(20, "rollback", "rolled back to the weights of step 0"),
    ]
    given = history(columns([1.0] * 30))
    given.events.extend(events)
    marks = payload(render(given, title="run"))["loss"]["marks"]
    assert [(mark["x"], mark["label"]) for mark in marks] == [
        *((number, f"not finite, step {number}") for number in (4, 5, 6)),
        (2, "skipped, step 2"),
        (20, "rolled back, step 20"),
    ]


# --- sentences: each must follow the numbers ------------------------------------------------------

FALL, FLAT = columns([2.0 * 0.9**n for n in range(30)]), columns([1.0] * 30)
LOSSES = [
    (FALL, [(10, 1.92), (20, 0.5), (30, 0.56)], ("fell from 1.92 to 0.5 and was lowest at step 20"
     " of 30 (epoch 2); in the last 10 steps it rose 12% while training loss kept falling: the"
     " model had begun to memorise.")),
    (FLAT, [(10, 1.92), (20, 0.5), (30, 0.56)], "it rose 12%, and training loss fell no further"),
    (FALL, [(10, 3.0), (20, 0.5), (30, 0.51)], "improved no further and ended 2% above that."),
    (FALL, [(10, 3.0), (20, 0.5), (30, 0.5)], "improved no further and ended level with that."),
    (FALL, [(10, 1.92), (30, 0.5)], "its lowest, at step 30 of 30 (epoch 3): the last evaluation"),
    (FALL, [(10, 0.5), (15, 1.0), (20, 1.2), (25, 1.5), (30, 1.92)],
     "the model memorised the training rows"),
    (FALL, [(10, 0.5), (30, 1.92)], "at the end; training loss fell from"),
    (FLAT, [(10, 0.5), (30, 1.92)], "little was learned"),
    (FALL, [(10, 0.5)], "Validation loss was measured once: 0.5 at step 10. Training loss fell"),
    (columns([2.0, 1.0, 0.5]), [], "Training loss fell from 2 to 0.5 over 3 steps; without"),
    (columns([2.5]), [], "Training loss was measured once: 2.5 at step 1; without"),
    (columns([NAN, INF]), [], "at every recorded step: nothing was learned."),
    (columns([2.0, NAN, NAN]), [], "From step 2 on, the training loss was not a finite number"),
    (columns([2.0, NAN, 1.0]), [], "At 1 step of 3, first at step 2, the training loss was not"),
    (columns([2.0, 1.0]), [(1, 1.0), (2, NAN)], "1 evaluation gave a loss that was not a finite"),
    (columns([]), [], "No training step was recorded"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "evaluations", "words"), LOSSES)
def test_loss_sentence(steps, evaluations, words):
    assert words in sentences.loss(steps, checks(*evaluations))


def test_a_run_that_broke_is_not_told_to_train_longer():
    text = sentences.loss(columns([2.0, 1.0, NAN]), checks((1, 1.0), (2, 0.5), (3, NAN)))
    assert "its lowest, at step 2" in text
    assert "more training" not in text


def test_a_rise_within_the_noise_is_not_called_memorising():
    rise = [(10, 1.92), (20, 0.5)]
    last = Evaluation(30, "validation", {"loss": 0.56}, noise=0.04)
    assert "did not change beyond its own noise." in sentences.loss(FALL, [*checks(*rise), last])
    last = Evaluation(30, "validation", {"loss": 0.56}, noise=0.02)
    assert "had begun to memorise." in sentences.loss(FALL, [*checks(*rise), last])


METRICS = [
    ("accuracy", [(9, 0.312), (18, 0.978), (27, 0.972)],
     "accuracy rose from 31.2% to 97.8% at step 18, its best, and was 97.2% at the last"),
    ("accuracy", [(9, 0.3), (18, 0.88), (27, 0.9)], "nine tenths of the gain had come by step 18."),
    ("accuracy", [(9, 0.9), (18, 0.8)], "best at its first measurement, 90% at step 9, and 80% at"),
    ("rmse", [(9, 4300.0), (18, 612.0)], "own units) fell from 4,300 to 612 at step 18, its best."),
    ("accuracy", [(9, 0.5)], "Validation accuracy was measured once: 50% at step 9."),
    ("accuracy", [], "No validation metric was measured"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "points", "words"), METRICS)
def test_metric_sentence(name, points, words):
    assert words in sentences.metric(checks(*points, name=name), name)


RATES = [
    (
        [1e-4, 5e-4, 1e-3, 5e-4, 2.1e-4],
        "rose over 3 steps to 1e-3 and was at 2.1e-4 when the run ended",
    ),
    ([1e-4, 5e-4, 1e-3], "rose over 3 steps to 1e-3 and was still rising"),
    ([0.05, 0.1, 0.1], "rose over 2 steps to 0.1 and stayed there to the end, step 3."),
    ([0.1, 0.05, 0.001], "began at 0.1, its highest, and was at 1e-3 when"),
    ([0.1, 0.1], "stayed at 0.1 for all 2 steps."),
    ([3e-4], "stayed at 3e-4 for the only step."),
    ([None], "was not recorded"),
]


@pytest.mark.parametrize(("rates", "words"), RATES)
def test_learning_rate_sentence(rates, words):
    assert words in sentences.learning_rate(columns([1.0] * len(rates), lr=rates))


NORMS = [
    (
        [1.0, 1.0, 2.0, 1.5],
        "was 1.25 at the median and never above 2 (step 3); it was 1.5 in the last",
    ),
    (
        [9.0, 1.0, 1.0, 0.5],
        "was highest near the start (9 at step 1), 1 at the median and 0.5 in the",
    ),
    ([1.0, 1.0, 62.0, 1.0], "was 1 at the median but jumped to 62, 62 times that, at step 3"),
    ([1.0, INF, 1.5, NAN], "at 2 steps, first at step 2, it was not a finite number"),
    ([NAN, NAN], "was not a finite number (NaN or infinity) at all 2 steps measured."),
    ([None, 3.0], "was measured once: 3 at step 2."),
    ([None, None], "was not measured in this run."),
]


@pytest.mark.parametrize(("norms", "words"), NORMS)
def test_gradient_norm_sentence(norms, words):
    assert words in sentences.gradient_norm(columns([1.0] * len(norms), norms=norms))


CONFUSIONS = [
    ([[17, 0, 0], [1, 16, 1], [4, 0, 14]], ("4 of 18 rows of class “8” were taken for “0”; best"
     " recognised: “0” (17 of 17, 100%).")),
    ([[17, 0, 0], [0, 16, 2], [0, 0, 14]], ("2 of 18 rows of class “1” were taken for “8”; 2 of 3"
     " classes without a mistake.")),
    ([[17, 0, 0], [1, 16, 1], [0, 0, 14]], "There were 2 mistakes, no two of them alike"),
    ([[17, 0, 0], [0, 0, 3], [0, 0, 14]], "never recognised: “1”."),
    ([[0, 0, 17], [0, 0, 3], [0, 0, 14]], "gave one answer, “8”, for all 34 test rows."),
    ([[17, 0, 0], [0, 3, 0], [0, 0, 14]], "No mistake: all 34 test rows were recognised."),
    ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], "The test set had no rows"),
]  # fmt: skip


@pytest.mark.parametrize(("matrix", "words"), CONFUSIONS)
def test_confusion_sentence(matrix, words):
    assert words in sentences.confusion(["0", "1", "8"], np.array(matrix))


RESIDUALS = [
    ([1000.0, 2000.0, 9000.0], [1212.0, 1900.0, 900.0], ("are within 212 EUR of the true value;"
     " the worst is off by 8,100 EUR (900 for 9,000); 66.7% are too low.")),
    ([1.0, 2.0, 3.0], [1.5, 2.5, 3.5], "100% are too high."),
    ([1.0, 2.0], [1.5, NAN], "1 prediction not a finite number (NaN or infinity)."),
    ([1.0], [INF], "Every prediction on the test set was not a finite number"),
    ([], [], "No row was tested."),
]  # fmt: skip


@pytest.mark.parametrize(("actual", "predicted", "words"), RESIDUALS)
def test_residuals_sentence(actual, predicted, words):
    assert words in sentences.residuals(np.array(actual), np.array(predicted), "EUR")


def test_result_sentence():
    ours = scores.result(summary(0.978, 0.839, 0.1), 180)
    assert ours.startswith("The model answered 97.8% of 180 test rows correctly.")
    assert ours.endswith('decision tree, depth 6: 83.9%; always "3": 10%.')
    theirs = scores.result(summary(31.0, 45.0, 99.0, "regression"), 0)
    assert theirs.startswith("The model's typical error (rmse) on the test set is 31.")
    assert scores.result({}, 0) == "The model was not scored on a test set."


def test_columns_sentence():
    described: list[dict[str, Any]] = [
        {"name": "age", "kind": "number", "use": "standardised"},
        {"name": "job", "kind": "category", "use": "one-hot"},
        {"name": "id", "kind": "text", "use": "dropped", "note": "unique"},
    ]
    words = "The model sees 2 of 3 columns (1 number, 1 category)"
    assert scores.columns(described) == f"{words}; dropped: “id” (unique)."
    assert scores.columns(described[:1]).endswith("1 of 1 column (1 number); none was dropped.")


NUMBERS = [(1260, "1,260"), (1.92, "1.92"), (0.083, "0.083"), (8143.2, "8,143"), (-3.5, "-3.5"),
           (0, "0"), (4.1e-7, "4.1e-7"), (2e12, "2e12"), (NAN, "not finite")]  # fmt: skip


@pytest.mark.parametrize(("value", "words"), NUMBERS)
def test_numbers_read_as_people_write_them(value, words):
    assert sentences.number(value) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.9784, "97.8%"), (1, "100%"), (0.9999, "99.9%"), (0, "0%")]
)
def test_only_all_is_a_hundred_percent(share, words):
    assert sentences.percent(share) == words


# --- in a browser ---------------------------------------------------------------------------------


def load(page, folder):
    """The page's document after its scripts ran, in a headless browser without a network."""
    (folder / "report.html").write_text(page, "utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    flags += (
        " --disable-background-networking --disable-component-update --virtual-time-budget=3000"
    )
    place = [f"--user-data-dir={folder / 'profile'}", "--dump-dom", f"file://{folder}/report.html"]
    done = subprocess.run(
        [BROWSER, *flags.split(), *place], capture_output=True, timeout=60, check=True
    )
    return done.stdout.decode()


@pytest.mark.skipif(not BROWSER, reason="no chromium or chrome on this machine")
@pytest.mark.parametrize(
    ("name", "charts"),
    [
        ("classification", 4),
        ("regression", 5),
        ("some NaN", 2),
        ("all NaN", 3),
        ("one step", 3),
        ("empty", 0),
    ],
)
def test_the_curves_are_drawn(name, charts, tmp_path):
    document = load(render(EDGES[name], title=name), tmp_path)
    root = found(r"(<html[^>]*>)", document)
    assert f'data-drawn="{charts}"' in root
    assert "data-failed" not in root
    assert document.count("<canvas") == charts
