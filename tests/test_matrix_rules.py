"""Muon and Adafactor: the definition, what goes to AdamW, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import thalweg
from conformance.compare import assert_close, assert_equal, copies, run, set_gradients, twins_of
from thalweg.backends.numpy import matrix_states, matrix_update
from thalweg.optim.clip import ByValue
from thalweg.rules import MATRIX_RULES, RULES
from thalweg.rules.muon import orthogonal
from thalweg.rules.options import (
    EMA,
    Cautious,
    Kahan,
    LowPrecisionState,
    NearestRounding,
    StochasticRounding,
)

SHAPES = ((6, 4), (4, 6), (5, 5), (3, 2, 2, 2), (1, 7))
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def params_of(*shapes: tuple[int, ...], dtype=torch.float64) -> list[nn.Parameter]:
    source = torch.Generator().manual_seed(0)
    draws = [torch.randn(s, generator=source, dtype=torch.float64) for s in shapes]
    return [nn.Parameter(draw.to(dtype)) for draw in draws]


# The definition in NumPy.

CASES = {
    "muon": (thalweg.Muon, {"ns_bf16": False}, SHAPES),
    "muon, all settings": (
        thalweg.Muon,
        {
            "ns_bf16": False,
            "lr": 0.02,
            "momentum": 0.8,
            "nesterov": False,
            "ns_coefficients": (2.0, -1.5, 0.5),
            "ns_steps": 3,
            "eps": 1e-3,
            "weight_decay": 0.3,
            "adjust_lr_fn": "match_rms_adamw",
        },
        SHAPES,
    ),
    "adafactor": (thalweg.Adafactor, {}, (*SHAPES, (6,), ())),
    "adafactor, all settings": (
        thalweg.Adafactor,
        {
            "lr": 0.5,
            "beta2_decay": -0.5,
            "eps": (1e-2, 1e-1),
            "d": 1.2,
            "weight_decay": 0.1,
        },
        (*SHAPES, (6,), ()),
    ),
}


def defined_paths(optimizer, start, rule_of) -> list[torch.Tensor]:
    """Where 12 steps of the definition lead."""
    settings = optimizer.param_groups[0]
    ends = []
    for i in range(len(start)):
        rule = rule_of(settings, start[i])
        p = start[i].numpy()
        states = matrix_states(rule, p)
        for k in range(12):
            shadows = [nn.Parameter(s.clone()) for s in start]
            set_gradients(shadows, k)
            g = shadows[i].grad.numpy()
            p, *states = matrix_update(rule, k + 1, p, g, *states, **rule.spread(settings))
        ends.append(torch.from_numpy(np.asarray(p)))
    return ends


@pytest.mark.parametrize(("build", "settings", "shapes"), CASES.values(), ids=CASES)
def test_torch_runs_the_definition(build, settings, shapes):
    params = params_of(*shapes)
    start = copies(params)
    optimizer = build(params, **settings)
    run(optimizer, params, range(12))

    def rule_of(group, p):
        return optimizer.rule_of(group).fitting(tuple(p.shape), is_complex=False)

    assert_close(params, defined_paths(optimizer, start, rule_of), "definition", **EXACT)


def test_another_formula_is_seen():
    """The comparison fails where torch runs something else."""
    params = params_of((6, 4))
    start = copies(params)
    optimizer = thalweg.Muon(params, ns_bf16=False)
    run(optimizer, params, range(12))

    def without_decay(*args):
        return MATRIX_RULES["muon"].update(*args[:6], 0.0, *args[7:])

    planted = dataclasses.replace(MATRIX_RULES["muon"], update=without_decay)
    planted.__dict__["wanted"] = MATRIX_RULES["muon"].wanted
    with pytest.raises(AssertionError):
        assert_close(params, defined_paths(optimizer, start, lambda *_: planted), "", **EXACT)


def test_the_product_is_nearly_orthogonal():
    from thalweg.backends.matrix import ARRAYS

    for (p,) in (params_of((40, 12)), params_of((12, 40))):
        x = orthogonal(ARRAYS, p.detach()[None], 3.4445, -4.7750, 2.0315, 1e-7, 5)
        sizes = torch.linalg.svdvals(x)
        assert 0.6 < float(sizes.min()) <= float(sizes.max()) < 1.3


def test_a_kernel_goes_as_its_matrix():
    (kernel,) = params_of((4, 3, 2, 2))
    matrix = nn.Parameter(kernel.detach().reshape(4, 12).clone())
    by_kernel, by_matrix = thalweg.Muon([kernel]), thalweg.Muon([matrix])
    for k in range(3):
        set_gradients([kernel], k)
        matrix.grad = kernel.grad.reshape(4, 12)
        by_kernel.step()
        by_matrix.step()
    assert_equal([kernel.reshape(4, 12)], [matrix], "kernel")


def test_steps_that_match_adamw_have_its_size():
    (p,) = params_of((48, 20))
    before = p.detach().clone()
    optimizer = thalweg.Muon([p], lr=1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    run(optimizer, [p], [0])
    size = float((p.detach() - before).square().mean().sqrt())
    assert 0.15 < size < 0.25


def test_bfloat16_products_are_near_the_exact_ones():
    (rounded,), (exact,) = params_of((16, 8)), params_of((16, 8))
    before = rounded.detach().clone()
    run(thalweg.Muon([rounded], weight_decay=0.0), [rounded], range(5))
    run(thalweg.Muon([exact], weight_decay=0.0, ns_bf16=False), [exact], range(5))
    error = (rounded - exact).norm() / (exact - before).norm()
    assert 1e-5 < error.item() < 0.05


# Tensors of one shape go at once.

STACKED = ((4, 3), (6,), (4, 3), (3, 2, 2), (4, 3), (6,), (), ())
ALONE = {
    "muon": (lambda params, **more: thalweg.Muon(params, ns_bf16=False, **more), 2),
    "adafactor": (lambda params, **more: thalweg.Adafactor(params, lr=0.3, **more), 0),
}


@pytest.mark.parametrize(
    "more",
    [{}, {"clip": thalweg.PerTensor(0.3)}, {"weight_decay": 0.1, "maximize": True}],
    ids=str,
)
@pytest.mark.parametrize("most", [1, 24, 2**17])
@pytest.mark.parametrize(("build", "least_dims"), ALONE.values(), ids=ALONE)
def test_a_tensor_goes_as_it_does_alone(build, least_dims, most, more, monkeypatch):
    """Also where counts differ, and in a stack that is cut."""
    monkeypatch.setattr("thalweg.backends.matrix.MOST_ELEMENTS", most)
    params = params_of(*(shape for shape in STACKED if len(shape) >= least_dims))
    others = twins_of(params)
    together, alone = build(params, **more), [build([p], **more) for p in others]
    for k in range(6):
        set_gradients(params, k)
        if k in (1, 4):
            params[k - 1].grad = None
        for p, other in zip(params, others, strict=True):
            other.grad = None if p.grad is None else p.grad.clone()
        measured = together.apply(torch.tensor(1.0))
        parts = [optimizer.apply(torch.tensor(1.0)) for optimizer in alone]
        for name in ("gradient_norm", "update_norm"):
            known = [part[name] for part in parts if part[name] is not None]
            assert measured[name] == pytest.approx(math.hypot(*known)), name
        rows = [row for optimizer in alone for row in optimizer.statistics()]
        for row, other in zip(together.statistics(), rows, strict=True):
            assert row == pytest.approx(other)
    assert_close(params, others, "together", **EXACT)
    for p, other, optimizer in zip(params, others, alone, strict=True):
        states = optimizer.state[other].values()
        assert_close(together.state[p].values(), states, "states", **EXACT)


def test_counts_may_be_an_array():
    """As on a device, where they are not read."""
    from thalweg.backends.matrix import ARRAYS

    rule = MATRIX_RULES["adafactor"]
    hyper = rule.spread(thalweg.Adafactor(params_of((1, 1))).param_groups[0])
    source = torch.Generator().manual_seed(0)
    p, g = torch.randn(2, 3, 5, 4, generator=source, dtype=torch.float64)
    r, c = torch.rand(3, 5, 1).double(), torch.rand(3, 1, 4).double()
    counts = torch.tensor([1.0, 2.0, 7.0]).double()
    wanted = [hyper[name] for name in rule.wanted]
    made = rule.update(ARRAYS, counts.view(3, 1, 1), p, g, r, c, *wanted)
    for i, t in enumerate(counts.tolist()):
        one = rule.update(ARRAYS, t, *(a[i : i + 1] for a in (p, g, r, c)), *wanted)
        assert_close([a[i : i + 1] for a in made], one, f"count {t}", **EXACT)


def test_a_norm_whose_square_is_none_of_float32s():
    params = params_of((4, 3), (4, 3), dtype=torch.float32)
    optimizer = thalweg.Adafactor(params)
    for p, value in zip(params, (1e30, math.inf), strict=True):
        p.grad = torch.full_like(p, value)
    optimizer.step()
    large, infinite = optimizer.statistics()
    assert large["gradient_norm"] == pytest.approx(1e30 * math.sqrt(12), rel=1e-5)
    assert [large["num_nonfinite"], infinite["num_nonfinite"]] == [0, 12]


# Beside Muon: AdamW, in one optimizer.


def both(*, dtype=torch.float64, **settings):
    """A matrix of Muon's, a vector and a matrix of AdamW's."""
    params = params_of((6, 4), (6,), (4, 4), dtype=dtype)
    groups = [{"params": params[:1], "use_muon": True}, {"params": params[1:], "use_muon": False}]
    return params, thalweg.Muon(groups, **settings)


def test_the_others_go_by_adamw():
    params, optimizer = both(weight_decay=0.03, adamw_lr=0.01, adamw_eps=1e-4)
    others = twins_of(params)
    matrix = thalweg.Muon(others[:1], weight_decay=0.03)
    rest = thalweg.AdamW(others[1:], lr=0.01, betas=(0.9, 0.95), eps=1e-4, weight_decay=0.03)
    for k in range(5):
        set_gradients(params, k)
        set_gradients(others, k)
        optimizer.step()
        matrix.step()
        rest.step()
    assert_close(params, others, "beside each other", **EXACT)
    assert optimizer.state[params[0]].keys() == {"momentum_buffer"}
    assert optimizer.state[params[1]].keys() == {"step", "exp_avg", "exp_avg_sq"}


def test_the_rate_of_adamw():
    assert both(lr=0.02)[1].param_groups[1]["lr"] == 3e-4
    assert both(lr=0.02, adamw_lr=0.1)[1].param_groups[1]["lr"] == 0.1
    matched = both(lr=0.02, adjust_lr_fn="match_rms_adamw")[1]
    assert [group["lr"] for group in matched.param_groups] == [0.02, 0.02]
    optimizer = thalweg.Muon(params_of((2, 2)))
    optimizer.add_param_group({"params": params_of((3,)), "use_muon": False, "lr": 0.5})
    assert optimizer.param_groups[1]["lr"] == 0.5


def test_bare_parameters_are_routed_with_one_warning():
    params = params_of((6, 4), (6,), (), (3, 2, 2), (2,))
    with pytest.warns(UserWarning, match="3 of Muon's .* muon_groups") as caught:
        optimizer = thalweg.Muon([{"params": params[:2]}, {"params": params[2:], "lr": 0.1}])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    routed = [(g["use_muon"], g["lr"], len(g["params"])) for g in optimizer.param_groups]
    assert routed == [(True, 1e-3, 1), (False, 3e-4, 1), (True, 0.1, 1), (False, 0.1, 2)]

    with pytest.warns(UserWarning, match="1 of Muon's") as caught:
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    assert len(caught) == 1


def test_who_says_gets_no_warning():
    """Warnings are errors here."""
    thalweg.Muon(params_of((3, 3), (2, 2, 2)))
    thalweg.Muon(params_of((3, 3), (3,)), use_muon=False)
    thalweg.Muon([{"params": params_of((3,)), "use_muon": False}])
    thalweg.Muon(thalweg.muon_groups(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))))


def test_one_norm_limits_all_gradients():
    params, optimizer = both(clip=0.5)
    others, plain = both()
    set_gradients(params, 0)
    set_gradients(others, 0)
    optimizer.step()
    nn.utils.clip_grad_norm_(others, 0.5)
    plain.step()
    assert_close(params, others, "clip", rtol=1e-12, atol=2e-5)  # the products are in bfloat16
    moments = [optimizer.state[params[1]]["exp_avg"], optimizer.state[params[0]]["momentum_buffer"]]
    expected = [plain.state[others[1]]["exp_avg"], plain.state[others[0]]["momentum_buffer"]]
    assert_close(moments, expected, "clip", **EXACT)


def adafactor():
    params = params_of((6, 4), (6,))
    return params, thalweg.Adafactor(params, skip_nonfinite=True)


@pytest.mark.parametrize("build", [lambda: both(skip_nonfinite=True), adafactor])
def test_a_gradient_that_is_not_finite_changes_nothing(build):
    params, optimizer = build()
    set_gradients(params, 0)
    params[0].grad.view(-1)[0] = math.inf
    before = copies(params)
    optimizer.step()
    assert_equal(params, before, "moved")
    run(optimizer, params, range(2))
    others, plain = build()
    run(plain, others, range(2))
    assert_equal(params, others, "the skipped step counts")


def test_what_a_step_measures():
    params, optimizer = both()
    before = copies(params)
    set_gradients(params, 0)
    measured = optimizer.apply(torch.tensor(1.0))
    moved = torch.cat([(p - b).flatten() for p, b in zip(params, before, strict=True)])
    grads = torch.cat([p.grad.flatten() for p in params])
    assert measured["update_norm"] == pytest.approx(float(moved.norm().detach()))
    assert measured["gradient_norm"] == pytest.approx(float(grads.norm()))
    rows = optimizer.statistics()
    assert len(rows) == 3
    assert rows[0]["parameter_norm"] == pytest.approx(float(params[0].norm().detach()))


@pytest.mark.parametrize(
    "settings",
    [{}, {"clip": 0.5}, {"clip": thalweg.PerTensor(0.3)}, {"skip_nonfinite": True}],
    ids=str,
)
def test_own_kernels_beside_matrices_change_nothing(settings):
    """foreach=True runs all of it by torch's operations, in one runner."""
    params, mixed = both(**settings)
    others, eager = both(**settings, foreach=True)
    assert mixed.backend.name == "mixed"
    assert eager.backend.name == "torch"
    scaled = [mixed, eager]
    for k in range(4):
        for given, optimizer in zip((params, others), scaled, strict=True):
            set_gradients(given, k)
            if k == 1:
                given[1].grad[0] = math.nan
            if k == 2:
                optimizer.grad_scale = torch.tensor(2.0)
        measured, expected = (o.apply(torch.tensor(1.0)) for o in scaled)
        for name, value in expected.items():
            assert measured[name] == pytest.approx(value, nan_ok=True), name
        if k == 0:
            for row, other in zip(mixed.statistics(), eager.statistics(), strict=True):
                assert row == pytest.approx(other)
    assert_close(params, others, "mixed", **EXACT)
    assert mixed.state[params[1]]["step"] == 3


def test_a_matrix_that_waits_for_its_first_gradient():
    params, optimizer = both(clip=0.5)
    before = copies(params)
    set_gradients(params[1:], 0)
    assert optimizer.apply(torch.tensor(1.0))["update_norm"] > 0
    assert_equal(params[:1], before[:1], "moved without a gradient")
    run(optimizer, params, [1])
    assert not torch.equal(params[0], before[0])


def test_the_reason_names_the_rule():
    assert "muon" in both()[1].backend_and_reason[1]
    assert "adafactor" in adafactor()[1].backend_and_reason[1]
    everything = thalweg.Muon(params_of((3, 3)), use_muon=False)
    assert "adamw" not in everything.backend_and_reason[1]


# State from torch, and storage.


@pytest.mark.parametrize(
    ("ours", "theirs", "shapes"),
    [
        (thalweg.Muon, torch.optim.Muon, ((6, 4), (4, 6))),
        (thalweg.Adafactor, torch.optim.Adafactor, ((6, 4), (6,), (), (3, 2, 2, 2))),
    ],
)
def test_a_run_of_torchs_goes_on(ours, theirs, shapes):
    params = params_of(*shapes)
    reference = theirs(params)
    run(reference, params, range(3))
    others = twins_of(params)
    optimizer = ours(others)
    optimizer.load_state_dict(reference.state_dict())
    run(reference, params, range(3, 6))
    run(optimizer, others, range(3, 6))
    assert_close(others, params, "continued", **EXACT)
    for p, q in zip(params, others, strict=True):
        kept, expected = optimizer.state[q], reference.state[p]
        assert kept.keys() == expected.keys()
        assert [s.shape for s in kept.values()] == [s.shape for s in expected.values()]


STORAGE = (Kahan(), NearestRounding(), StochasticRounding(), LowPrecisionState())


@pytest.mark.parametrize("option", STORAGE, ids=lambda option: type(option).__name__)
@pytest.mark.parametrize("build", [thalweg.Muon, thalweg.Adafactor])
def test_options_for_storage(build, option):
    """Of the way that float32 goes, bfloat16 goes all; rounded to the nearest, little."""
    source = torch.Generator().manual_seed(0)
    start = (1 + torch.rand(32, 16, generator=source)).bfloat16()
    slope = torch.randn(32, 16, generator=source).bfloat16()
    exact, p = nn.Parameter(start.float()), nn.Parameter(start.clone())
    goes, follows = build([exact], lr=3e-4), build([p], lr=3e-4, options=[option])
    for _ in range(200):
        exact.grad, p.grad = slope.float(), slope.clone()
        goes.step()
        follows.step()
    whole, way = exact.detach() - start, p.detach() - start
    share = float((way * whole).sum() / (whole * whole).sum())
    if isinstance(option, NearestRounding):
        assert share < 0.5
    else:
        assert share == pytest.approx(1.0, abs=0.1)


def test_empty_tensors_and_scalars():
    params = params_of((0, 3), (3, 0), (2, 0, 2), (0,), (), (1, 1))
    optimizer = thalweg.Adafactor(params)
    run(optimizer, params, range(2))
    assert all(p.isfinite().all() for p in params)
    matrices = params_of((0, 3), (3, 0), (2, 0, 2), (2, 2))
    run(thalweg.Muon(matrices), matrices, range(2))
    assert all(p.isfinite().all() for p in matrices)


# What is refused, each in one line.

BAD = (
    (thalweg.Muon, {"ns_steps": 3.5}, "ns_steps is 3.5: it must be a whole number"),
    (thalweg.Muon, {"ns_steps": 100}, "ns_steps is 100: allowed is 0 <= ns_steps < 100"),
    (thalweg.Muon, {"ns_coefficients": (1.0, 2.0)}, "ns_coefficients is .* three numbers"),
    (thalweg.Muon, {"ns_coefficients": (1.0, math.nan, 1.0)}, "ns_b is nan"),
    (thalweg.Muon, {"adjust_lr_fn": "mine"}, "adjust_lr_fn is 'mine': .* 'match_rms_adamw'"),
    (thalweg.Muon, {"nesterov": "yes"}, "nesterov is 'yes': it must be True or False"),
    (thalweg.Muon, {"ns_bf16": None}, "ns_bf16 is None: it must be True or False"),
    (thalweg.Muon, {"use_muon": "no"}, "use_muon is 'no': it must be True or False"),
    (thalweg.Muon, {"adamw_lr": -1.0}, "adamw_lr is -1.0: allowed is adamw_lr >= 0"),
    (thalweg.Muon, {"adamw_betas": (0.9,)}, "adamw_betas is .* pair"),
    (thalweg.Muon, {"adamw_eps": -1.0}, "adamw_eps is -1.0: allowed is adamw_eps >= 0"),
    (thalweg.Muon, {"momentum": 1.0}, "momentum is 1.0: allowed is 0 <= momentum < 1"),
    (thalweg.Adafactor, {"d": 0.5}, "d is 0.5: allowed is d >= 1"),
    (thalweg.Adafactor, {"beta2_decay": 0.1}, "beta2_decay is 0.1: allowed is beta2_decay <= 0"),
    (thalweg.Adafactor, {"eps": (None,)}, "eps is .* pair"),
    (thalweg.Adafactor, {"eps": 1e-3}, "eps is 0.001: .* pair"),
    (thalweg.Adafactor, {"eps": (-1.0, 1e-3)}, "eps1 is -1.0"),
    (thalweg.Adafactor, {"eps": (None, None)}, "eps2 is None"),
    (thalweg.Muon, {"options": [Cautious()]}, "Cautious.* element by element, and muon"),
    (thalweg.Adafactor, {"options": [EMA()]}, "EMA.* element by element, and adafactor"),
    (thalweg.Muon, {"options": [Kahan(), NearestRounding()]}, "exclude each other"),
)


@pytest.mark.parametrize(("build", "settings", "message"), BAD)
def test_bad_settings_are_told(build, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(params_of((2, 2)), **settings)
    assert "\n" not in str(caught.value)


def test_clip_by_value_is_told():
    (p,) = params_of((2, 2))
    with pytest.raises(ValueError, match=r"ByValue.* element by element"):
        run(thalweg.Muon([p], clip=ByValue(0.5)), [p], [0])


def test_options_of_adamws_groups_are_free():
    params = params_of((2, 2), (2,))
    groups = [
        {"params": params[:1], "use_muon": True},
        {"params": params[1:], "use_muon": False, "options": (Cautious(), EMA(0.9))},
    ]
    optimizer = thalweg.Muon(groups)
    run(optimizer, params, range(2))
    assert optimizer.state[params[1]].keys() == {"step", "exp_avg", "exp_avg_sq", "ema"}


def test_a_vector_that_is_said_to_be_muons_is_told():
    with pytest.raises(ValueError, match=r"use_muon=True has a parameter of shape \(3,\)"):
        thalweg.Muon([{"params": params_of((2, 2), (3,)), "use_muon": True}])


@pytest.mark.parametrize("build", [thalweg.Muon, thalweg.Adafactor])
def test_complex_and_sparse_are_told_before_anything_moves(build):
    first, other = params_of((2, 2), (2, 2))
    odd = nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))
    set_gradients([first, other], 0)
    before = copies([first, other])
    odd.grad = torch.ones_like(odd)
    with pytest.raises(ValueError, match="takes no complex parameters"):
        build([first, odd]).step()
    other.grad = other.grad.to_sparse()
    with pytest.raises(ValueError, match="takes no sparse gradients"):
        build([first, other]).step()
    assert_equal([first, other], before, "moved")


def test_differentiable_takes_exact_products():
    exact, followed = params_of((4, 3))[0], params_of((4, 3))[0].detach().clone()
    set_gradients([exact], 0)
    followed.grad = exact.grad.clone()
    thalweg.Muon([exact], ns_bf16=False).step()
    thalweg.Muon([followed], differentiable=True).step()
    assert_close([followed], [exact], "differentiable", **EXACT)


def test_rules_are_in_one_table_each():
    assert MATRIX_RULES.keys().isdisjoint(RULES)
    for rule in MATRIX_RULES.values():
        assert rule.paper
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = {row.setting for row in rule.hypers} | set(rule.switches)
        build = {"muon": thalweg.Muon, "adafactor": thalweg.Adafactor}[rule.name]
        assert names <= build(params_of((2, 2))).defaults.keys()
