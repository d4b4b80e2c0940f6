"""Which library computes float32 matrix products on the CPU; put back afterwards.

torch sends them to MKL, which takes a slower path on other makers' processors. With its precision
set to "medium" it sends them to oneDNN, which may then round to bfloat16; where a processor has
nothing to gain from that, it computes in float32, and sometimes faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from thalweg.errors import UsageError
from thalweg.scale import findings
from thalweg.scale.choice import Choice
from thalweg.scale.threads import threads
from thalweg.scale.work import Measure, Work, products, seconds

TORCH, ONEDNN = ROUTES = ("torch", "onednn")

LIMIT = 1e-5
"""Relative error against float64 beyond which a route is not float32: float32 has 3e-7 on these
products, bfloat16 3e-3.
"""

MARGIN = 1.2
"""How many times as fast oneDNN must be, twice: short trials on a busy machine are off by 10%."""

PIECE = 2e8
"""Floating-point operations of one trial, two milliseconds."""

PAIRS, BUDGET = 6, 0.03
"""Trials of each route, and the seconds after which the check ends with fewer."""

CUBE = (256, 256, 256)
"""A product whose error is looked at whatever the model's are: large enough for any fast path."""

Error = Callable[[Work], float]
"""The relative error of oneDNN on some work."""


def float32_precision() -> str:
    """torch's own setting of float32 products: highest, high (tf32 where there is) or medium."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # torch's newer switches were used, which it does not translate
        backends: Any = torch.backends
        places = {"cuda": backends.cuda.matmul, "mkldnn": backends.mkldnn.matmul}
        return ", ".join(f"{name} {place.fp32_precision}" for name, place in places.items())


@contextmanager
def route(name: str) -> Iterator[None]:
    """Matrix products of float32 on the CPU go by this route inside; "torch" changes nothing."""
    if name == TORCH:
        yield
        return
    backends: Any = torch.backends
    places = (backends.mkldnn.matmul, backends.cuda.matmul)  # both change with the precision
    precision = torch.get_float32_matmul_precision()
    before = [place.fp32_precision for place in places]
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


def error_of(work: Work) -> float:
    """The largest relative error of oneDNN's products, in the Frobenius norm, against float64."""
    piece = work.cut(PIECE)
    looked_at = Work(piece.operations, (*piece.shapes, CUBE))
    with threads(1):
        exact = products(looked_at, torch.float64)()
        with route(ONEDNN):
            found = products(looked_at)()
        return max(
            float((product.double() - truth).norm() / truth.norm())
            for product, truth in zip(found, exact, strict=True)
        )


def choose(work: Work, *, measure: Measure = seconds, error: Error = error_of) -> Choice:
    """oneDNN where it is exact and clearly faster on products like the step's, else torch's own.

    How much faster it is stays in the cache for this processor, torch and work; whether it is exact
    is looked at each time.
    """
    reason = _reason_against()
    if reason is not None:
        return Choice(TORCH, reason)
    precision = torch.get_float32_matmul_precision()
    if precision != "highest":
        return Choice(TORCH, f"its precision was set before, to {precision}")
    if work.is_tiny:
        return Choice(TORCH, f"{work.size} is too small to gain")

    found = error(work)
    if not found < LIMIT:
        return Choice(TORCH, f"oneDNN is not float32 here: relative error {found:.0e}")
    faster = _known_speedup(work.cut(PIECE), measure)
    is_worth_it = faster >= MARGIN
    return Choice(
        ONEDNN if is_worth_it else TORCH, f"oneDNN is {faster:.2f} times as fast, error {found:.0e}"
    )


def require(work: Work, *, error: Error = error_of) -> Choice:
    """oneDNN because it was asked for. Raises UsageError where it would not compute in float32."""
    reason = _reason_against()
    if reason is None:
        found = error(work)
        if found < LIMIT:
            return Choice(ONEDNN, f"asked for; error {found:.0e}")
        reason = f"its relative error is {found:.0e}, float32 has less than {LIMIT:.0e}"
    raise UsageError(f"matmul 'onednn' cannot be used here ({reason}): choose auto or torch")


def _reason_against() -> str | None:
    """Why oneDNN cannot be used at all."""
    if not torch.backends.mkldnn.is_available():
        return "this torch has no oneDNN"
    try:
        torch.get_float32_matmul_precision()
    except RuntimeError:
        return "the precision was set by torch's newer switches, which this one would overwrite"
    return None


def _known_speedup(piece: Work, measure: Measure) -> float:
    """How many times as fast oneDNN is, from the cache or measured now."""
    key = {
        "check": "matmul",
        "processor": findings.processor(),
        "torch": torch.__version__,
        "shapes": [list(shape) for shape in piece.shapes],
    }
    known = findings.recall(key)
    if isinstance(known, float) and known > 0:
        return known
    found = speedup(piece, measure)
    if found >= MARGIN:
        found = min(found, speedup(piece, measure))
    findings.remember(key, found)
    return found


def speedup(piece: Work, measure: Measure) -> float:
    """The best of each route's trials, alternating: other work on the machine only makes some
    slower, and one thread waits for nobody.
    """
    run = products(piece)
    taken: dict[str, list[float]] = {name: [] for name in ROUTES}
    left = BUDGET
    while left > 0 and len(taken[ONEDNN]) < PAIRS:
        for name in ROUTES:
            with threads(1), route(name):
                taken[name].append(measure(run))
            left -= taken[name][-1]
    return round(min(taken[TORCH]) / min(taken[ONEDNN]), 3)
