"""docs/stops-improving.md says what is true: its commands, its networks, what its runs are told."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from benchmarks import stops_improving
from benchmarks.curve_picture import Line, Mark, Panel, picture
from benchmarks.stops_improving import CASES, CLASSIFIERS, made, prepare, write

from thalweg.health.diagnosis import diagnose
from thalweg.record.foreign.log import Series

PAGE = stops_improving.PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE.replace("\\\n    ", ""), re.DOTALL)
    for line in block.splitlines()
]
SPACE = "{http://www.w3.org/2000/svg}"


def test_the_page_shows_the_commands_and_the_networks_of_the_runs():
    expected = []
    for case in CASES:
        expected += [f"{case.command} --name {case.letter}", f"thalweg diagnose {case.letter}"]
    assert expected == COMMANDS
    assert f"```python\n{CLASSIFIERS}```" in PAGE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.letter)
def test_the_page_shows_what_was_said_and_measured(case):
    part = PAGE.split(f"<!-- diagnosis of {case.letter}:")[1].split("<!-- end of numbers")[0]
    assert f"\nA  {case.code} " in part
    rows = [line.split(" | ")[0].removeprefix("| ") for line in part.splitlines() if "|" in line]
    assert rows[2:] == [words for _, words, _ in case.commands()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("stops-improving")
    prepare(place)
    return place


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.letter)
def test_each_run_is_told_its_own_cause_first(case, folder):
    findings = diagnose(made(folder, case.letter, case.command)).findings
    assert findings[0].code == case.code


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="holds other files"):
        prepare(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_every_change_changes_the_command():
    for case in CASES:
        commands = [command for _, _, command in case.commands()]
        assert len(set(commands)) == len(commands) == len(case.changes) + 1


def test_parts_of_the_page_are_written_between_their_marks(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(stops_improving, "PAGE", page)
    write({"numbers of b": r"| \1 |"})
    before, after = PAGE.split("<!-- numbers of b:")[0], PAGE.split("<!-- end of numbers of b")[1]
    text = page.read_text(encoding="utf-8")
    assert text.startswith(before)
    assert text.endswith(after)
    assert text.split("<!-- numbers of b:")[1].splitlines()[2] == r"| \1 |"


def drawn(values: list[float], **settings) -> ElementTree.Element:
    series = Series.of("loss", enumerate(values, 1))
    return ElementTree.fromstring(
        picture("<b>", [Panel([Line("loss", "train", series)], **settings)])
    )


def test_a_picture_has_its_caption_a_gap_where_a_value_is_not_finite_and_its_marks():
    root = drawn([3.0, 2.0, math.nan, 1.0, 2.0], marks=[Mark(3, "TW001 from here", "said")])
    assert root.findtext(f"{SPACE}title") == "<b>"
    (path,) = root.iter(f"{SPACE}path")
    assert path.get("d", "").count("M") == 2
    (mark,) = [line for line in root.iter(f"{SPACE}line") if line.get("class") == "mark said"]
    assert float(mark.get("x1", "0")) == pytest.approx(46 + (640 - 46 - 12) / 2)
    assert "TW001 from here" in [text.text for text in root.iter(f"{SPACE}text")]


def heights(root: ElementTree.Element) -> list[float]:
    (path,) = root.iter(f"{SPACE}path")
    return [float(point.split()[1]) for point in re.split("[ML]", path.get("d", ""))[1:]]


def test_values_far_apart_are_drawn_on_a_log_scale():
    far = heights(drawn([1000.0, 10.0, 0.1]))
    assert far[1] == pytest.approx((far[0] + far[2]) / 2, abs=0.11)
    near = heights(drawn([3.0, 2.0, 1.0]))
    assert near[1] == pytest.approx((near[0] + near[2]) / 2, abs=0.11)
    assert heights(drawn([1000.0, 10.0, 0.1], is_log=False))[1] > far[1] + 20
