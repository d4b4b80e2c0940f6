"""A run trained longer, and its children: what is kept, what is changed, and that nothing else is.

Every comparison of runs is to the bit; times apart.
"""

from __future__ import annotations

import hashlib
import os
import signal
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import killed
import thalweg
from thalweg.errors import Preempted, RunError, UsageError
from thalweg.jobs.runs import list_runs
from thalweg.loop import step as loop_step
from thalweg.record import read

PLAIN = {"schedule": "constant", "warmup": 0}
PER_EPOCH = 6
"""Of 96 training rows in batches of 16."""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    killed.write_table(Path("points.csv"))
    return tmp_path


def objects_of(source: str) -> tuple[Any, dict[str, Any]]:
    """Data and settings, made anew: a model is trained in place."""
    torch.manual_seed(1)
    make_data, make_settings = killed.FITS[source]
    return make_data() or "points.csv", make_settings()


def fit(name: str, source: str = "csv", **settings: Any) -> Any:
    data, own = objects_of(source)
    defaults = {
        "optimizer": "adamw",
        "batch_size": 16,
        "patience": 100,
        "evaluate_every": 6,
        "checkpoint_every": 5,
    }
    return thalweg.fit(data, name=name, quiet=True, **{**defaults, **own, **settings})


def resume(run: str, source: str = "csv", **wish: Any) -> Any:
    data, own = objects_of(source)
    given = {n: v for n, v in own.items() if n in ("model", "loss") and not isinstance(v, str)}
    data = None if isinstance(data, str) else data
    return thalweg.resume(run, data, **given, **wish, quiet=True)


def steps_of(name: str, after: int = 0) -> dict[str, list[float]]:
    """The record's steps after one of them, by column."""
    columns = read(Path("runs", name)).steps
    rows = columns["number"] > after
    return {n: c[rows].filled(-1).tolist() for n, c in columns.items() if n != "seconds"}


def looks_of(name: str, every: int = 6) -> list[Any]:
    """The evaluations that were due."""
    found = read(Path("runs", name)).evaluations
    return [(e.number, dict(e.values), e.noise) for e in found if e.number % every == 0]


def same_weights(one: Any, other: Any) -> bool:
    first, second = one.model.state_dict(), other.model.state_dict()
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def same_runs(one: str, other: str, after: int = 0) -> bool:
    """Are the steps after one of them and the evaluations equal?"""
    return repr(steps_of(one, after)) == repr(steps_of(other, after)) and repr(
        looks_of(one)
    ) == repr(looks_of(other))


def content_of(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def events_of(name: str, kind: str) -> list[str]:
    return [event.text for event in read(Path("runs", name)).events if event.kind == kind]


def toml_of(name: str) -> dict[str, Any]:
    return tomllib.loads(Path("runs", name, "run.toml").read_text())


# A longer run is the run that had been asked for so long from the start.

LONGER: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, Any]]] = {
    "epochs": ({"epochs": 4}, {"epochs": "+4"}, {"epochs": 8}),
    "steps, within an epoch": ({"steps": 17}, {"steps": "+16"}, {"steps": 33}),
    "epochs of a run in steps": ({"steps": 17}, {"epochs": "+2"}, {"steps": 17 + 2 * PER_EPOCH}),
    "steps of a run in epochs": ({"epochs": 3}, {"steps": "+7"}, {"steps": 25}),
    "half an epoch": ({"epochs": 3}, {"epochs": "+1.5"}, {"epochs": 4.5}),
}


@pytest.mark.parametrize(("short", "more", "long"), LONGER.values(), ids=LONGER)
def test_at_a_constant_rate_it_is_the_run_that_never_stopped(short, more, long, place):
    fit("a", **PLAIN, **short)
    found = resume("a", **more)
    whole = fit("b", **PLAIN, **long)
    assert same_runs("a", "b")
    assert same_weights(found, whole)
    ours, theirs = toml_of("a")["settings"], toml_of("b")["settings"]
    assert {n: ours.get(n) for n in ("steps", "epochs")} == {
        n: theirs.get(n) for n in ("steps", "epochs")
    }


@pytest.mark.parametrize("source", killed.FITS)
def test_every_source_is_trained_longer(source, place):
    fit("a", source, **PLAIN, steps=15)
    found = resume("a", source, steps="+12")
    whole = fit("b", source, **PLAIN, steps=27)
    assert same_runs("a", "b")
    assert same_weights(found, whole)


@pytest.mark.parametrize("optimizer", ["sgd", "muon", "prodigy", "schedulefreeadamw"])
def test_every_kind_of_optimizer_is_trained_longer(optimizer, place):
    fit("a", **PLAIN, steps=15, optimizer=optimizer)
    found = resume("a", steps="+12")
    assert same_weights(found, fit("b", **PLAIN, steps=27, optimizer=optimizer))
    assert same_runs("a", "b")


def test_twice_longer(place):
    fit("a", **PLAIN, epochs=2)
    resume("a", epochs="+2")
    found = resume("a", steps="+6")
    assert same_weights(found, fit("b", **PLAIN, epochs=5))


def test_a_planted_difference_is_seen(place):
    fit("a", **PLAIN, steps=15)
    found = resume("a", steps="+12")
    other = fit("b", **PLAIN, steps=27, lr=1.001e-3)
    assert not same_runs("a", "b")
    assert not same_weights(found, other)


SCHEDULES = {
    "cosine": {"schedule": "cosine", "warmup": 4},
    "cosine, warm-up by default": {"schedule": "cosine"},
    "linear": {"schedule": "linear", "warmup": 0},
    "one_cycle": {"schedule": "one_cycle"},
    "wsd": {"schedule": "wsd"},
    "warmup:5 >> constant:10 >> linear": {"schedule": "warmup:5 >> constant:10 >> linear"},
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_rates_are_those_of_the_longer_run_from_there_on(schedule, place):
    fit("a", **schedule, epochs=5)
    before = steps_of("a")["lr"]
    resume("a", epochs="+5")
    fit("b", **schedule, epochs=10)
    assert steps_of("a")["lr"][:30] == before
    assert steps_of("a", after=30)["lr"] == steps_of("b", after=30)["lr"]
    assert steps_of("b")["lr"][:30] != before
    (text,) = events_of("a", "change")
    shown = (f"{before[-1]:.3g}", f"{steps_of('a', after=30)['lr'][0]:.3g}")
    assert text.startswith(
        "trained longer, by 5 epochs; the schedule is planned anew, for 60 steps in place of 30"
    )
    assert text.endswith("the rate was {} and is now {}".format(*shown))


def test_a_run_by_the_clock_is_then_counted_in_steps(place):
    fit("a", time=0.5, warmup=2)
    taken, horizon = len(steps_of("a")["number"]), toml_of("a")["settings"]["horizon"]
    resume("a", steps="+10")
    settings = toml_of("a")["settings"]
    assert settings["steps"] == horizon + 10 == len(steps_of("a")["number"])
    assert taken <= horizon
    assert not {"time", "horizon", "epochs"} & settings.keys()


def test_patience_begins_anew(place):
    """At a rate of 1e-30 the first look counts as an improvement, and no other."""
    first = fit("a", **PLAIN, lr=1e-30, epochs=50, patience=2)
    assert (first.result["status"], first.result["steps"]) == ("converged", 18)
    again = resume("a", epochs="+1")
    assert (again.result["status"], again.result["steps"]) == ("converged", 36)


def test_a_goal_that_was_reached_ends_it_no_more(place):
    assert fit("a", epochs=3, until="loss=100").result["status"] == "reached"
    run = resume("a", epochs="+2")
    assert (run.result["status"], run.result["epochs"]) == ("budget", 5)
    assert "its goal, loss=100, was reached" in events_of("a", "change")[0]


def test_the_best_weights_of_before_are_kept_where_they_stay_the_best(place):
    first = fit("a", **PLAIN, epochs=3)
    again = resume("a", epochs="+2", set={"lr": 1e30, "clip": 1e30})
    assert same_weights(first, again)


# Children.

SETS: dict[str, dict[str, Any]] = {
    "a rate": {"lr": 1e-4},
    "a hyperparameter": {"optimizer": "adamw:weight_decay=0.5"},
    "betas": {"optimizer": "adamw:beta1=0.5,beta2=0.9"},
    "another state": {"optimizer": "adamw:amsgrad=true"},
    "another optimizer": {"optimizer": "sgd"},
    "one that averages": {"optimizer": "schedulefreeadamw"},
    "muon": {"optimizer": "muon"},
    "larger batches": {"batch_size": 40},
    "single rows": {"batch_size": 1, "patience": 500},
    "the whole set": {"batch_size": "full", "epochs": 7},
    "in parts": {"accumulate": 2},
    "clipped": {"clip": 0.01},
    "averaged": {"ema": 0.9},
    "fp16": {"precision": "fp16"},
    "a schedule": {"schedule": "one_cycle"},
    "a plateau": {"schedule": "plateau"},
    "a goal": {"until": "loss=0.01"},
    "more looks": {"evaluate_every": 3},
    "a longer budget": {"epochs": 9},
    "steps in the place of epochs": {"steps": 40},
    "time": {"time": "100s", "horizon": 40},
    "two at once": {"lr": 0.01, "batch_size": 8},
}


@pytest.mark.parametrize("given", SETS.values(), ids=SETS)
def test_a_child_changes_what_was_set_and_not_its_parent(given, place):
    fit("a", epochs=5)
    before = content_of(Path("runs/a"))
    resume("a", from_step=25, set=given)
    assert content_of(Path("runs/a")) == before
    values = toml_of("a-1")
    assert values["parent"] == {"run": "runs/a", "step": 25}
    assert {name: values["settings"][name] for name in given} == given
    history = read(Path("runs/a-1"))
    assert history.events[0].kind == "resume"
    assert history.events[0].text.startswith("started from runs/a, after its step 25")
    assert history.steps["number"][0] == 26
    assert np.isfinite(history.steps["loss"]).all()
    (text,) = events_of("a-1", "change")
    for name, value in given.items():
        assert f"{name} was " in text
        assert f", is {value}" in text


def test_a_child_without_a_change_is_its_parent(place):
    parent = fit("a", epochs=5)
    child = resume("a", from_step=25, name="b")
    assert same_weights(parent, child)
    assert steps_of("b") == steps_of("a", after=25)


def test_a_changed_rate_wins_and_the_states_stay(place):
    fit("a", **PLAIN, steps=30, optimizer="momentum")
    resume("a", from_step=25, set={"lr": 0.05, "steps": 30}, name="b")
    assert set(steps_of("b")["lr"]) == {0.05}
    resume("a", from_step=25, set={"optimizer": "sgd:momentum=0.9", "lr": 0.1}, name="c")
    assert steps_of("c")["loss"][:2] != steps_of("a", after=25)["loss"][:2]  # states afresh
    assert "states begin afresh" in events_of("c", "change")[0]


@pytest.mark.parametrize(("size", "is_afresh"), [(32, False), (64, True)])
def test_states_of_far_noisier_gradients_are_forgotten(size, is_afresh, place):
    fit("a", **PLAIN, steps=30, optimizer="adam")
    resume("a", from_step=25, set={"batch_size": size, "steps": 30})
    assert ("states begin afresh" in events_of("a-1", "change")[0]) == is_afresh


def test_another_optimizer_brings_its_own_rate(place):
    fit("a", epochs=5)
    resume("a", from_step=25, set={"optimizer": "sgd"})
    assert toml_of("a-1")["settings"]["lr"] == 0.1


def test_an_average_that_is_set_off_is_gone(place):
    fit("a", **PLAIN, epochs=5, ema=0.999)
    child = resume("a", from_step=25, set={"ema": 0, "epochs": 5})
    plain = fit("b", **PLAIN, epochs=5, ema=0)
    assert same_weights(child, plain)


def test_a_batch_goes_on_from_the_same_place_in_the_epoch(place):
    fit("a", epochs=5, keep=3)
    resume("a", from_step=20, set={"batch_size": 32})  # 20 steps: 32 rows of the fourth epoch
    samples = steps_of("a-1")["samples"]
    assert samples == [*range(320 + 32, 481, 32)]
    assert toml_of("a-1")["settings"]["horizon"] == 20 + 2 + 3


def test_a_child_of_a_child_and_its_longer_run(place):
    fit("a", epochs=5)
    resume("a", from_step=25, set={"lr": 1e-4}, epochs="+1")
    assert toml_of("a-1")["settings"]["epochs"] == 6
    resume("a-1", set={"lr": 1e-5}, epochs="+1", name="c")
    assert toml_of("c")["parent"] == {"run": "runs/a-1", "step": 36}
    resume("c", epochs="+1")
    assert toml_of("c")["parent"] == {"run": "runs/a-1", "step": 36}
    parents = {row["name"]: row["parent"] for row in list_runs("runs")["runs"]}
    assert parents == {
        "a": None,
        "a-1": {"run": "runs/a", "step": 25},
        "c": {"run": "runs/a-1", "step": 36},
    }
    assert "a child of runs/a, step 25" in Path("runs/a-1/report.html").read_text()


# Killed meanwhile.


class Died(BaseException):
    """The end of a process that is not asked (tests/test_killed.py kills real ones)."""


def dies(number: int, work: Any) -> None:
    """Do this, and die in step `number`, after its backward pass."""
    backward = loop_step.Stepper.backward

    def fatal(self: Any, batch: Any, at: int, *more: Any) -> Any:
        loss = backward(self, batch, at, *more)
        if at == number:
            raise Died
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_step.Stepper, "backward", fatal)
        with pytest.raises(Died):
            work()


WISHES: dict[str, dict[str, Any]] = {
    "longer": {"epochs": "+5"},
    "a child": {"set": {"lr": 1e-4, "batch_size": 8}, "from_step": 25, "name": "b"},
    "another optimizer": {"set": {"optimizer": "lion"}, "from_step": 25, "name": "b"},
}


@pytest.mark.parametrize("number", [27, 29, 30])
@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_a_changed_run_survives_a_kill(wish, number, place):
    name = wish.get("name", "a")
    number += 5 * ("epochs" in wish)
    fit("a", epochs=5, patience=3)
    whole = resume("a", **wish)
    steps, looks = steps_of(name), looks_of(name)
    Path("runs").rename("before")
    fit("a", epochs=5, patience=3)
    dies(number, lambda: resume("a", **wish))
    found = resume(name)
    assert same_weights(found, whole)
    assert (steps_of(name), looks_of(name)) == (steps, looks)
    assert toml_of(name) == tomllib.loads(Path("before", name, "run.toml").read_text())


def test_killed_after_the_last_step_takes_no_other(place):
    def die(*_: Any, **more: Any) -> None:
        raise Died

    whole = fit("a", epochs=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thalweg.jobs.fit.score", die)
        with pytest.raises(Died):
            fit("b", epochs=5)
    found = resume("b")
    assert same_weights(whole, found)
    assert same_runs("a", "b")
    assert found.result["steps"] == 30


def test_a_killed_run_is_trained_longer(place):
    dies(17, lambda: fit("a", **PLAIN, epochs=5))
    found = resume("a", epochs="+3")
    assert same_weights(found, fit("b", **PLAIN, epochs=8))
    assert same_runs("a", "b")


@pytest.mark.parametrize("number", [17, 18])
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_asked_to_stop_goes_on(asked, number, place):
    """In step 17 nothing else was due; after step 18 a look was."""
    backward = loop_step.Stepper.backward

    def asks(self: Any, batch: Any, at: int, *more: Any) -> Any:
        if at == number:
            os.kill(os.getpid(), asked)
        return backward(self, batch, at, *more)

    with pytest.MonkeyPatch.context() as patch, suppress(Preempted):
        patch.setattr(loop_step.Stepper, "backward", asks)
        assert fit("a", epochs=5).result["status"] == "interrupted"
        assert asked == signal.SIGINT
    assert len(steps_of("a")["number"]) == number
    found = resume("a")
    assert same_weights(found, fit("b", epochs=5))
    assert same_runs("a", "b")
    if asked == signal.SIGTERM:  # no look was made that the other had not
        assert looks_of("a", every=1) == looks_of("b", every=1)


# Refused.

REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a number": ({"epochs": 20}, UsageError, r"epochs is 20: .*: epochs \+20"),
    "no plus": ({"steps": "500"}, UsageError, r"steps is '500': .*: steps \+500"),
    "nothing": ({"steps": "+0"}, UsageError, r"steps \+500|steps \+0"),
    "less": ({"epochs": "-3"}, UsageError, r"epochs \+3"),
    "both": ({"epochs": "+1", "steps": "+1"}, UsageError, "give one of them"),
    "half a step": ({"steps": "+1.5"}, UsageError, r"steps \+500"),
    "a name": ({"name": "b"}, UsageError, "names a child"),
    "step 0": ({"from_step": 0}, UsageError, "from-step is 0"),
    "a step that is not kept": ({"from_step": 3}, RunError, "step 3 of runs/a .* are of 25, 30"),
    "other data": ({"set": {"data": "x.csv"}}, UsageError, "other data makes another run"),
    "another seed": ({"set": {"seed": 1}}, UsageError, "which rows are trained on"),
    "another model": ({"set": {"model": "linear"}}, UsageError, "other weights"),
    "an unknown setting": ({"set": {"lrr": 1}}, UsageError, "did you mean 'lr'"),
    "a wrong value": ({"set": {"lr": -1}}, UsageError, "lr is -1"),
    "nothing left": ({"set": {"lr": 1e-4}}, RunError, r"nothing is left to do .* --epochs \+20"),
    "a name that exists": ({"set": {"lr": 1e-4}, "name": "a"}, UsageError, "exists already"),
    "nothing asked": ({}, RunError, r"is finished.*--epochs \+20"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run in it."""
    folder, before = tmp_path_factory.mktemp("finished"), Path.cwd()
    os.chdir(folder)
    try:
        killed.write_table(Path("points.csv"))
        fit("a", epochs=5)
    finally:
        os.chdir(before)
    return folder


@pytest.mark.parametrize(("wish", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_and_nothing_touched(wish, error, words, finished, monkeypatch):
    monkeypatch.chdir(finished)
    before = content_of(finished)
    with pytest.raises(error, match=words):
        resume("a", **wish)
    assert content_of(finished) == before
    assert [path.name for path in Path("runs").iterdir()] == ["a"]


def test_a_run_without_checkpoints(place):
    fit("a", epochs=2)
    for path in sorted(Path("runs/a/checkpoints").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    before = content_of(Path("runs"))
    with pytest.raises(RunError, match="no checkpoint to go on from"):
        resume("a", epochs="+2")
    assert content_of(Path("runs")) == before
