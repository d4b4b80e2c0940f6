"""What users may give an optimizer: whatever is no value of a setting is told in one line, in the
constructor, in a group, and in a state dict.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import thalweg
from thalweg.errors import RunError, UsageError
from thalweg.optim import OPTIMIZERS, Adaptive, ByNorm, Optimizer, PerTensor
from thalweg.optim.common import Common
from thalweg.optim.settings import FLAGS
from thalweg.rules import MATRIX_RULES
from thalweg.rules.options import EMA, ByValue, Cautious, TrustRatio, UpdateClip

CLASSES = tuple(dict.fromkeys(named.build for named in OPTIMIZERS.values()))


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(shape or (2, 2)))


def doors(build: Callable[..., Optimizer], name: str, value: Any) -> list[Callable[[], Any]]:
    """Every way in which a setting comes to an optimizer."""
    sound = build([parameter()])
    saved = sound.state_dict()
    saved["param_groups"][0][name] = value
    return [
        lambda: build([parameter()], **{name: value}),
        lambda: build([{"params": [parameter()], name: value}]),
        lambda: sound.load_state_dict(saved),
    ]


def must_tell(refused: Callable[[], Any], *words: str) -> None:
    with pytest.raises((UsageError, RunError, TypeError)) as caught:
        refused()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


# Flags and switches.


def test_the_table_of_flags_is_complete():
    assert FLAGS.keys() | {"clip", "options", "seed"} == Common.__annotations__.keys()


def switches() -> list[tuple[type[Optimizer], str]]:
    """Every argument of every class that is on or off."""
    return [
        (build, row.name)
        for build in CLASSES
        for row in inspect.signature(build).parameters.values()
        if isinstance(row.default, bool)
    ]


WRONG = (2, -1, 0.5, "no", "True", [], torch.ones(2))


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("name", FLAGS)
def test_what_is_no_value_of_a_flag_is_told(name, value):
    for refused in doors(thalweg.AdamW, name, value):
        must_tell(refused, f"{name} is {value!r}: it must be True", "False")


@pytest.mark.parametrize("value", [*WRONG, None], ids=repr)
@pytest.mark.parametrize(("build", "name"), switches())
def test_what_is_no_value_of_a_switch_is_told(build, name, value):
    for refused in doors(build, name, value):
        must_tell(refused, f"{name} is {value!r}: it must be True or False")


def test_only_wishes_may_be_left_open():
    for name in FLAGS:
        for given in doors(thalweg.AdamW, name, None):
            if name in ("foreach", "fused"):
                given()
            else:
                must_tell(given, f"{name} is None")


@pytest.mark.parametrize(("build", "name"), [*switches(), *((thalweg.AdamW, n) for n in FLAGS)])
def test_1_and_0_are_true_and_false(build, name):
    more = {"momentum": 0.5} if name == "nesterov" else {}
    for number, truth in ((1, True), (0, False)):
        ends = []
        for value in (number, truth):
            p = torch.ones(2, 2)
            optimizer = build([p], **{name: value}, **more)
            p.grad = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
            optimizer.step()
            ends.append(p.detach().clone())
        assert torch.equal(*ends)


def test_a_word_that_is_no_variant_is_told():
    for value in ("keras", 3, None, ["torch"]):
        for refused in doors(thalweg.NAdam, "variant", value):
            must_tell(refused, f"variant is {value!r}: it must be 'torch' or 'constant'")


# Numbers, clip, options, seed.

HUGE = 10**400
BAD: list[tuple[str, Any, str]] = [
    ("lr", torch.tensor([0.1, 0.2]), "lr >= 0"),
    ("lr", torch.tensor(math.nan), "lr is nan"),
    ("lr", torch.tensor(-1.0), "lr is -1.0"),
    ("lr", HUGE, "lr >= 0"),
    ("lr", None, "lr is None"),
    ("lr", True, "lr is True"),
    ("betas", (0.9, 0.99, 0.999), "a pair of numbers"),
    ("betas", np.array([0.9, 0.99]), "a pair of numbers"),
    ("betas", "ab", "a pair of numbers"),
    ("clip", 0, "clip is 0"),
    ("clip", math.nan, "clip is nan"),
    ("clip", math.inf, "clip is inf"),
    ("clip", HUGE, "a norm > 0"),
    ("clip", "1", "clip is '1'"),
    ("clip", ByNorm, "ByNorm(1.0)"),
    ("clip", {}, "None"),
    ("clip", {"ByNorm": {}}, "ByNorm"),
    ("options", Cautious(), "options is Cautious(): give a list"),
    ("options", None, "options is None: give a list"),
    ("options", 3, "options is 3: give a list"),
    ("options", "Cautious", "options is 'Cautious': give a list"),
    ("options", [Cautious], "give objects, such as Cautious()"),
    ("options", [Cautious(), Cautious()], "exclude each other"),
    ("options", [{"EMA": {"speed": 1}}], "EMA"),
    ("seed", 1.5, "seed is 1.5"),
    ("seed", None, "seed is None"),
    ("seed", True, "seed is True"),
]


@pytest.mark.parametrize(("name", "value", "told"), BAD)
def test_what_is_out_of_range_is_told(name, value, told):
    for refused in doors(thalweg.AdamW, name, value):
        must_tell(refused, told)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, HUGE, "1", None, True])
@pytest.mark.parametrize("kind", [ByNorm, PerTensor, ByValue, Adaptive, UpdateClip])
def test_a_limit_is_a_finite_number_above_0(kind, value):
    must_tell(lambda: kind(value), f"{kind.__name__}({value!r})", "> 0")


def test_numbers_of_numpy_are_numbers():
    optimizer = thalweg.AdamW([parameter()], lr=np.float32(0.1), clip=np.float64(2.0))
    assert optimizer.param_groups[0]["lr"] == np.float32(0.1)


def test_a_number_of_steps_is_whole():
    for build in (thalweg.ScheduleFreeSGD, thalweg.ScheduleFreeAdamW):
        for refused in doors(build, "warmup_steps", 0.05):
            must_tell(refused, "warmup_steps is 0.05: it must be a whole number")


def test_lamb_says_so_as_well():
    must_tell(lambda: thalweg.LAMB([parameter()], options=TrustRatio()), "give a list")


def test_a_refused_state_changes_nothing():
    p = parameter()
    optimizer = thalweg.AdamW([p], lr=0.1)
    p.grad = torch.ones(2, 2)
    optimizer.step()
    before, wrong = deepcopy(optimizer.state_dict()), deepcopy(optimizer.state_dict())
    wrong["param_groups"][0] |= {"lr": 0.7, "maximize": "no"}
    wrong["state"][0]["exp_avg"] += 1
    must_tell(lambda: optimizer.load_state_dict(wrong), "maximize is 'no'")
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(torch.equal(after["state"][0][k], v) for k, v in before["state"][0].items())


@pytest.mark.parametrize(
    ("name", "value"), [("options", Cautious()), ("amsgrad", "no"), ("clip", -1)]
)
def test_what_is_set_between_steps_is_told_by_the_next(name, value):
    p = parameter()
    optimizer = thalweg.AdamW([p])
    p.grad = torch.ones(2, 2)
    optimizer.step()
    optimizer.param_groups[0][name] = value
    must_tell(optimizer.step, f"{name} is {value!r}")


# Parameters and rules.


@pytest.mark.parametrize(
    "params", [None, 3, "abc", nn.Linear(2, 2), {"params": [parameter()]}], ids=type
)
def test_what_holds_no_parameters_is_told(params):
    """As a TypeError, which torch raises as well."""
    for refused in (lambda: thalweg.AdamW(params), lambda: thalweg.AdamW([{"params": params}])):
        with pytest.raises(TypeError, match=type(params).__name__) as caught:
            refused()
        assert "model.parameters()" in str(caught.value)


def test_a_group_without_parameters_is_told():
    must_tell(lambda: thalweg.AdamW([{"lr": 1.0}]), "no 'params'", "lr")
    must_tell(lambda: thalweg.AdamW([{"params": [parameter()], 3: 1}]), "has 3", "lr")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("adamv", "'adamv' is unknown"),
        (None, "rule is None"),
        (thalweg.AdamW, "rule is <class"),
        (["sgd"], "rule is ['sgd']"),
        (MATRIX_RULES["muon"], "thalweg.Muon"),
    ],
)
def test_what_is_no_rule_is_told(rule, told):
    must_tell(lambda: Optimizer([parameter()], rule), told)


def test_sound_settings_pass():
    group = {"params": [parameter()], "options": [EMA(0.9)], "clip": 1, "fused": None, "seed": 3}
    assert thalweg.AdamW([group], betas=[0.9, 0.99], lr=1, maximize=True).param_groups


@pytest.mark.parametrize("model", [nn.Flatten(), nn.Linear(4, 3).requires_grad_(False)])
def test_a_model_that_trains_nothing_is_refused(model):
    data = (np.zeros((90, 4), dtype=np.float32), np.arange(90) % 3)
    with pytest.raises(UsageError, match="no parameter to train"):
        thalweg.fit(data, model=model, quiet=True)
