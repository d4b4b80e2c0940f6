"""The picture of a schedule: what is drawn is the schedule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thalweg import cosine, draw_schedule, plateau, restarts, warmup
from thalweg.errors import UsageError
from thalweg.schedules import Schedule

SCHEDULE = warmup(100) >> cosine(floor=0.1)


def lines(file: Path) -> list[list[tuple[float, float]]]:
    """Points of the curves in an SVG: long paths are theirs."""
    paths = re.findall(r'<path d="([^"]*)" clip-path', file.read_text("utf-8"))
    points = [re.findall(r"[ML] ([\d.]+) ([\d.]+)", path) for path in paths]
    return [[(float(x), float(y)) for x, y in row] for row in points if len(row) > 2]


def test_the_curve_is_the_schedule(tmp_path):
    file = draw_schedule(SCHEDULE, tmp_path / "lr.svg", horizon=1000, lr=3e-4)
    assert file == tmp_path / "lr.svg"
    (curve,) = lines(file)
    tops = [y for _, y in curve]
    assert curve[tops.index(min(tops))][0] == pytest.approx(at(curve, 100), abs=1)
    scale = max(tops) - min(tops)
    share = (max(tops) - curve[-1][1]) / scale
    assert share == pytest.approx((0.1 - 0.01) / (1 - 0.01), abs=2e-3)


def at(curve: list[tuple[float, float]], step: int) -> float:
    """Where a step of 1 .. 1000 stands on the page."""
    left, right = curve[0][0], curve[-1][0]
    return left + (right - left) * (step - 1) / 999


def test_the_same_call_makes_the_same_bytes(tmp_path):
    for ending in ("svg", "png"):
        files = [
            draw_schedule(SCHEDULE, tmp_path / f"{name}.{ending}", horizon=50) for name in "ab"
        ]
        assert files[0].read_bytes() == files[1].read_bytes()
    other = draw_schedule(cosine(), tmp_path / "c.svg", horizon=50)
    assert other.read_bytes() != (tmp_path / "a.svg").read_bytes()


def test_several_and_long_ones(tmp_path):
    """Curves are thinned; a restart between two kept points is kept."""
    evaluations = [(1000 * k, 1.0) for k in range(20)]
    several: list[Schedule] = [restarts(37), plateau(0.5, patience=2), SCHEDULE]
    file = draw_schedule(several, tmp_path / "a.svg", horizon=20_000, evaluations=evaluations)
    curves = lines(file)
    assert len(curves) == 3
    assert all(len(curve) <= 2000 for curve in curves)
    tops = [y for _, y in curves[0]]
    assert sum(y == pytest.approx(min(tops), abs=0.5) for y in tops) > 400
    assert len({round(y, 3) for _, y in curves[1]}) == 7


def test_a_png_is_one(tmp_path):
    file = draw_schedule(SCHEDULE, str(tmp_path / "a.PNG"), horizon=10)
    assert file.read_bytes().startswith(b"\x89PNG")


BAD = {
    "another ending": (SCHEDULE, "a.gif", 10, r"'a.gif': it must end in .svg or .png"),
    "no ending": (SCHEDULE, "a", 10, "must end in"),
    "no step": (SCHEDULE, "a.svg", 0, "nothing to draw"),
    "half a step": (SCHEDULE, "a.svg", 1.5, "nothing to draw.*horizon"),
    "a number": (3, "a.svg", 10, "schedules is 3: give a schedule"),
    "several numbers": ([3], "a.svg", 10, "3 is no schedule"),
    "no schedule": ([], "a.svg", 10, "nothing to draw"),
}


@pytest.mark.parametrize(("schedule", "to", "horizon", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_drawn(schedule, to, horizon, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        draw_schedule(schedule, to, horizon=horizon)
    assert not list(tmp_path.iterdir())
