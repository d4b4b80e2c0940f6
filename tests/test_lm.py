"""Language models of bytes: windows, their measure, what they write, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import texts
import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, UsageError
from thalweg.keys import Purpose, key
from thalweg.state.folder import Folder
from thalweg.tasks.measure import few
from thalweg.tasks.models.build import build
from thalweg.tasks.models.inputs import Tokens
from thalweg.tasks.table.asked import Parting
from thalweg.tasks.text.language import Asked, of_language
from thalweg.tasks.text.ngrams import bits_of
from thalweg.tasks.text.windows import Windows, num_characters
from thalweg.tasks.text.writing import written
from thalweg.types import Stretch

PROSE = texts.prose()
SMALL = {"task": "lm", "model": "transformer:16x1", "context": 16}


def bytes_of(text: str | bytes) -> torch.Tensor:
    raw = text.encode() if isinstance(text, str) else text
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8)


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("length", [1, 8, 128])
@pytest.mark.parametrize("size", [257, 999, 6000])
def test_windows_stand_side_by_side_and_predict_the_byte_after_each(size, length, moves):
    text = torch.arange(size).remainder(251).to(torch.uint8)
    windows = Windows(text, length, moves=moves)
    for epoch in (-1, 0, 1, 7):
        stretch = Stretch(np.arange(len(windows)), seed=3, epoch=epoch)
        inputs, targets = windows.fetch(stretch)
        assert inputs.shape == targets.shape == (len(windows), length)
        assert (targets[:, :-1] == inputs[:, 1:]).all()
        flat = inputs.reshape(-1)
        shift = key(Purpose.SAMPLE, 3, epoch) % length if moves and epoch >= 0 else 0
        assert torch.equal(flat, text[shift : shift + len(flat)].long())
    assert len(windows) * length + 2 * length >= size


def test_a_batch_hangs_on_its_place_alone():
    windows = Windows(bytes_of(PROSE), 16, moves=True)
    whole = windows.fetch(Stretch(np.array([5, 9, 2]), seed=1, epoch=4, start=7))
    part = windows.fetch(Stretch(np.array([9, 2]), seed=1, epoch=4, start=8))
    assert all(torch.equal(one[1:], other) for one, other in zip(whole, part, strict=True))


@pytest.mark.parametrize("text", ["", "abc", "žluťoučký kůň", "漢字 and 👍"])
def test_characters_are_counted_by_their_first_bytes(text):
    assert num_characters(bytes_of(text or b"\n")) == max(1, len(text))


def test_few_windows_of_many_are_spread_over_the_text():
    windows = Windows(torch.zeros(3_000_000, dtype=torch.uint8), 128)
    some = few(windows)
    assert len(some) == 512
    assert some.indices[0] == 0
    assert some.indices[-1] == len(windows) - 1
    small = Windows(torch.zeros(5000, dtype=torch.uint8), 128)
    assert few(small) is small


def slow_bits(train: bytes, test: bytes, order: int) -> float:
    """The definition of `bits_of`, one byte after the other."""

    def chance(history: bytes, byte: int) -> float:
        if not history:
            return (train.count(byte) + 1) / (len(train) + 256)
        size = len(history)
        nexts = [
            train[i + size] for i in range(len(train) - size) if train[i : i + size] == history
        ]
        lower = chance(history[1:], byte)
        kinds = len(set(nexts))
        return (nexts.count(byte) + kinds * lower) / (len(nexts) + kinds) if nexts else lower

    places = range(order - 1, len(test))
    found = [-math.log2(chance(test[i - order + 1 : i], test[i])) for i in places]
    return sum(found) / len(found)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_tables_of_counts_are_their_definition(order):
    train, test = PROSE[:700].encode(), (PROSE[700:800] + "Zq žx").encode()
    arrays = (np.frombuffer(part, dtype=np.uint8) for part in (train, test))
    assert bits_of(*arrays, order) == pytest.approx(slow_bits(train, test, order), rel=1e-9)


def test_more_history_needs_fewer_bits():
    text = np.frombuffer(PROSE.encode(), dtype=np.uint8)
    one, two, three = (bits_of(text[:5000], text[5000:], order) for order in (1, 2, 3))
    assert one > two > three > 0


def test_the_text_is_parted_by_position_and_no_byte_stands_in_two_parts():
    raw = PROSE.encode()
    study = of_language(raw, Asked(parting=Parting(validation_share=0.2, test_share=0.1)))
    parts = [bytes(source.text) for source in (study.train, study.validation, study.test)]
    assert b"".join(parts) == raw
    assert [len(part) for part in parts] == [4200, 1200, 600]


def test_given_texts_take_the_place_of_shares(tmp_path):
    path = tmp_path / "held.txt"
    path.write_text(PROSE[:500])
    study = of_language(PROSE.encode(), Asked(validation=str(path), test=b"x" * 300))
    parts = [bytes(source.text) for source in (study.train, study.validation, study.test)]
    assert parts == [PROSE.encode(), PROSE[:500].encode(), b"x" * 300]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    (folder / "prose.txt").write_text(PROSE)
    return thalweg.fit(
        folder / "prose.txt",
        task="lm",
        model="transformer:32x1",
        context=32,
        steps=250,
        lr=1e-2,
        batch_size=16,
        evaluate_every=50,
        out=str(folder / "runs"),
        quiet=True,
    )


def test_a_language_is_learnt_and_measured_in_bits(run):
    test, baselines = run.result["test"], run.result["baselines"]
    assert test["bits_per_byte"] == pytest.approx(test["loss"] / math.log(2))
    assert test["bits_per_character"] == pytest.approx(test["bits_per_byte"])  # ASCII
    assert test["bits_per_byte"] < baselines["bigram"]["bits_per_byte"]
    assert baselines.keys() == {"constant", "bigram", "trigram"}
    assert 0 < baselines["constant"]["commonest_share"] < 1
    assert run.result["task"]["kind"] == "language"
    assert "test bits" in str(run)


def test_it_is_scored_anew_as_it_was_scored(run, tmp_path):
    path = tmp_path / "test.txt"
    path.write_text(PROSE[5400:])
    again = thalweg.load(run.folder)
    found = again.evaluate(str(path))
    for name in ("loss", "bits_per_byte", "bits_per_character"):
        assert found[name] == pytest.approx(run.result["test"][name], rel=1e-6)


def test_what_it_writes_hangs_on_the_seed(run):
    again = thalweg.load(run.folder)
    text = run.generate("the good day", length=60, seed=1)
    assert text == again.generate("the good day", length=60, seed=1)
    assert text != run.generate("the good day", length=60, seed=2)
    assert text.startswith(run.generate("the good day", length=20, seed=1))
    assert run.predict(prompt="the good day") == run.generate("the good day")
    greedy = run.generate("the good day was ", length=40, temperature=0)
    assert greedy == run.generate("the good day was ", length=40, temperature=0, seed=9)
    assert " day was " in greedy
    assert len(run.generate("", length=5).encode("utf-8", "replace")) >= 5


def test_samples_stand_in_the_record_and_in_the_report(run):
    samples = run.record.results["samples"]
    assert len(samples) == 3
    validation = PROSE[4800:5400]
    page = run.report.read_text()
    for row in samples:
        assert row["prompt"] in validation
        assert len(row["text"]) >= 200
        assert row["prompt"].splitlines()[0].split(".")[0] in page
    assert "Samples" in page
    assert "triples of bytes" in page


def test_likeliest_bytes_are_those_of_the_model():
    model = build("transformer:16x1", Tokens(256, is_language=True), 256, seed=0)
    (found,) = written(model, [b"ab"], length=3, context=8, temperature=0, seed=0)
    ids = [*b"ab"]
    for byte in found:
        outputs = model(torch.tensor([ids]))
        assert byte == int(outputs[0, :, -1].argmax())
        ids.append(byte)


def test_characters_of_several_bytes_need_more_bits_than_a_byte(tmp_path):
    run = thalweg.fit("привет мир ".encode() * 200, **SMALL, steps=5, out=None, quiet=True)
    test = run.result["test"]
    assert test["bits_per_character"] / test["bits_per_byte"] == pytest.approx(20 / 11, abs=0.05)


def test_parts_of_a_batch_add_up_to_it():
    losses = []
    for accumulate in (1, 3):
        run = thalweg.fit(
            PROSE.encode(), **SMALL, steps=8, accumulate=accumulate, out=None, quiet=True
        )
        losses.append(run.record.steps["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_bytes_that_are_no_text_are_learnt_and_said(tmp_path, capsys):
    path = tmp_path / "raw.txt"
    path.write_bytes(PROSE.encode() + b"\xff\xfe \x00\x00")
    words = ["--task", "lm", "--model", "transformer:16x1", "--context", "16", "--steps", "3"]
    assert main(["fit", str(path), *words, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "2 places that are no UTF-8" in said
    assert "2 NUL bytes" in said


def test_the_command_line_writes(run, capsys):
    words = ["predict", str(run.folder), "--prompt", "the kind day", "--length", "30"]
    assert main(words) == 0
    assert capsys.readouterr().out == f"the kind day{run.generate('the kind day', length=30)}\n"
    assert main([*words, "--json", "--seed", "4", "--temperature", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    text = run.generate("the kind day", length=30, seed=4, temperature=1.0)
    assert (found["prompt"], found["text"]) == ("the kind day", text)


def test_until_a_goal_in_bits():
    run = thalweg.fit(
        PROSE.encode(), **SMALL, until="bits_per_byte=7.9", evaluate_every=5, out=None, quiet=True
    )
    assert run.result["status"] == "reached"


BAD_FITS = [
    (b"abc", {}, DataError, "too short: its parts to train, validate and test hold 3, 0, 0 bytes"),
    (b"", {}, DataError, "empty"),
    (PROSE[:150].encode(), {"context": 64}, DataError, "or a smaller context"),
    (PROSE.encode(), {"target": "x"}, UsageError, "target has no effect with --task lm"),
    (PROSE.encode(), {"text": "x"}, UsageError, "text has no effect with --task lm"),
    (PROSE.encode(), {"label_smoothing": 0.1}, UsageError, "label-smoothing has no effect"),
    (PROSE.encode(), {"split": "random"}, UsageError, "split has no effect"),
    (PROSE.encode(), {"folds": 3}, UsageError, "folds has no effect"),
    (PROSE.encode(), {"by": "x"}, UsageError, "by has no effect"),
    (PROSE.encode(), {"metric": "accuracy"}, UsageError, "metric has no effect"),
    (PROSE.encode(), {"model": "bag"}, UsageError, "'bag:16' predicts one thing of a text"),
    (PROSE.encode(), {"model": "mlp:8"}, UsageError, "take one of transformer"),
    ([1, 2], {}, DataError, "data is a list"),
]


@pytest.mark.parametrize(("data", "settings", "error", "words"), BAD_FITS)
def test_what_cannot_be_learnt_is_refused_in_one_line(data, settings, error, words, tmp_path):
    with pytest.raises(error, match=words) as found:
        thalweg.fit(data, task="lm", out=str(tmp_path), quiet=True, **settings)
    assert "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())


BAD_LINES = [
    (["fit", "plain.txt"], 2, "if plain.txt is plain text, learn to write it, --task lm"),
    (["fit", "empty.txt", "--task", "lm"], 4, "empty.txt is empty"),
    (["fit", "three.txt", "--task", "lm"], 4, "three.txt is too short"),
    (["fit", "none.txt", "--task", "lm"], 4, "none.txt does not exist"),
    (["predict", "RUN"], 2, "no data was given"),
    (["predict", "RUN", "plain.txt"], 2, "is a language model: give it a prompt"),
    (["predict", "RUN", "plain.txt", "--prompt", "a"], 2, "data and --prompt were both given"),
    (["predict", "RUN", "--to", "a.csv", "--prompt", "a"], 2, "--to and --prompt"),
    (["predict", "RUN", "--prompt", "a", "--length", "-1"], 2, "length is -1"),
    (["predict", "RUN", "--prompt", "a", "--temperature", "-1"], 2, "temperature is -1"),
    (["evaluate", "RUN", "three.txt"], 4, "holds 3 bytes"),
]


@pytest.mark.parametrize(("words", "code", "told"), BAD_LINES)
def test_slips_are_answered_in_one_line(words, code, told, run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.txt").write_text(PROSE)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "three.txt").write_text("abc")
    assert main([str(run.folder) if word == "RUN" else word for word in words]) == code
    said = capsys.readouterr().err.splitlines()
    assert told in said[-1]
    assert len([line for line in said if not line.startswith("reading")]) == 1
    assert not (tmp_path / "runs").exists()


def test_a_prompt_to_another_model_is_refused(tmp_path, capsys):
    frame = texts.frame()
    run = thalweg.fit(frame, text="text", target="verdict", steps=3, out=str(tmp_path), quiet=True)
    assert main(["predict", str(run.folder), "--prompt", "hello"]) == 2
    said = capsys.readouterr().err
    assert "a prompt is for a language model" in said
    assert "classification" in said
    with pytest.raises(UsageError, match="one of them"):
        run.predict()


def test_gradients_are_clipped_unless_that_is_not_wanted(tmp_path):
    usual = {**SMALL, "steps": 4, "quiet": True, "out": str(tmp_path)}
    clipped = thalweg.fit(PROSE.encode(), **usual, name="clipped")
    free = thalweg.fit(PROSE.encode(), **usual, clip="none", name="free")
    assert (clipped.result["clip"], free.result["clip"]) == (1.0, "none")
    assert "\nclip = 1.0\n" in (clipped.folder / "run.toml").read_text()
    assert set(free.record.steps["clip_factor"].compressed()) <= {1.0}
    assert clipped.record.steps["clip_factor"].min() < 1.0
    again = thalweg.fit(PROSE.encode(), **usual, clip=1e9)
    assert all(map(torch.equal, again.model.parameters(), free.model.parameters()))


def test_a_run_of_before_it_was_usual_goes_on_without(tmp_path):
    data = tmp_path / "prose.txt"
    data.write_text(PROSE)
    usual = {**SMALL, "quiet": True, "out": str(tmp_path), "clip": "none"}
    whole = thalweg.fit(data, **usual, steps=8, name="whole")
    run = thalweg.fit(data, **usual, steps=4, name="old")
    settings = run.folder / "run.toml"
    settings.write_text(settings.read_text().replace('clip = "none"\n', ""))
    Folder(run.folder).seal()
    longer = thalweg.resume(run.folder, steps="+4", quiet=True)
    assert longer.result["clip"] == "none"
    assert longer.result["steps"] == whole.result["steps"] == 8
