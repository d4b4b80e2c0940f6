"""Texts of a table: how they become tokens, and models of them from the first step to predict."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from zlib import crc32

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.naive_bayes import MultinomialNB

import apart
import texts
import thalweg
from thalweg.cli.main import main
from thalweg.errors import DataError, UsageError
from thalweg.tasks.models.bag import Bag
from thalweg.tasks.text import hashed, pieces
from thalweg.tasks.text.bayes import naive_bayes
from thalweg.tasks.text.words import Words, learn_words, trimmed

FRAME = texts.frame()
ODD = [
    "",
    "   \n",
    "a",
    "The same word, the SAME word; the same word!",
    "žluťoučký kůň 漢字かな交じり文 привет мир",
    "x" * 5000,
    "nul \x00 and lost \ufffd",
    "👍🏽 🏳️‍🌈 e\u0301",
    " ".join(f"word{i}" for i in range(3000)),
]
SAMPLES = [*FRAME["text"].to_list(), *ODD]


@pytest.mark.parametrize("num_buckets", [16, 1 << 17])
@pytest.mark.parametrize("length", [1, 7, 300])
def test_hashed_features_are_few_different_and_in_range(num_buckets, length):
    found = hashed.hashed(SAMPLES, num_buckets=num_buckets, length=length)
    assert found.shape == (len(SAMPLES), length)
    assert found.dtype == np.int32
    for row in found:
        ids = row[row != hashed.FILLER]
        assert len(ids) >= 1
        assert len(set(ids.tolist())) == len(ids)
        assert (row[: len(ids)] != hashed.FILLER).all()
        assert ids.max() < num_buckets


def test_a_shorter_cut_is_the_beginning_of_a_longer_one():
    long, short = (hashed.hashed(SAMPLES, num_buckets=1 << 17, length=n) for n in (400, 20))
    assert (long[:, :20] == short).all()


def test_hashed_features_hang_on_the_text_alone_and_not_on_its_neighbours():
    whole = hashed.hashed(SAMPLES, num_buckets=1 << 17, length=64)
    for row, text in enumerate(SAMPLES):
        assert (hashed.hashed([text], num_buckets=1 << 17, length=64)[0] == whole[row]).all()


def plain_features(text: str, num_buckets: int, most: int) -> list[int]:
    """As they are defined: all words, all pairs of neighbours, all pieces, each bucket once."""

    def bucket(number: int) -> int:
        return 2 + number * 0x9E3779B1 % 2**32 % (num_buckets - 2)

    words = re.findall(r"\w+|[^\w\s]", text.lower())[:most]
    numbers = [crc32(word.encode()) for word in words]
    found = [bucket(number) for number in numbers]
    found += [bucket(a * 0x9E3779B1 % 2**32 ^ b) for a, b in pairwise(numbers)]
    for word in words:
        whole = f"<{word[: hashed.LONGEST]}>"
        for size in (3, 4):
            pieces = [whole[i : i + size] for i in range(len(whole) - size + 1)]
            found += [bucket(crc32(piece.encode(), 1)) for piece in pieces]
    return list(dict.fromkeys(found))[:most] or [hashed.NOTHING]


@pytest.mark.parametrize("num_buckets", [16, 1 << 17])
@pytest.mark.parametrize("most", [1, 5, 12, 40, 1000])
def test_what_is_not_made_would_not_have_been_among_the_features(num_buckets, most):
    found = list(hashed.features(SAMPLES, num_buckets=num_buckets, most=most))
    assert found == [plain_features(text, num_buckets, most) for text in SAMPLES]


@pytest.mark.parametrize("is_bag", [True, False])
def test_tokens_are_as_many_as_the_longest_training_text_has(is_bag):
    texts = ["a", "one two three", " ".join(f"word{i}" for i in range(300))]
    words = learn_words(texts[:2], ("text",), is_bag=is_bag, most=100, rows=3)
    cut, inputs = trimmed(words, words.encode(texts), np.array([0, 1]))
    assert inputs.shape == (3, cut.length)
    assert 3 <= cut.length < 100
    assert inputs[2].all()
    assert not inputs[0].all()
    assert (cut.encode(texts) == inputs).all()


def test_words_that_share_pieces_share_features_and_case_does_not_count():
    def of(text: str) -> set[int]:
        return set(next(hashed.features([text], num_buckets=1 << 17, most=1000)))

    assert of("Walking") == of("walking")
    assert len(of("walking") & of("walked")) >= 3
    assert not of("walking") & of("zebu")
    assert of("ham spam") != of("spam ham")


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b"])
def test_nothing_is_one_token(text):
    ids = next(hashed.features([text.strip("\u200b")], num_buckets=100, most=10))
    assert ids == [hashed.NOTHING]


MERGES = pieces.learnt(FRAME["text"], 400)


def bytes_of(tokens: list[int], merges: pieces.Merges) -> bytes:
    """The bytes that tokens stand for."""
    spelled = {pieces.FIRST_BYTE + byte: bytes([byte]) for byte in range(256)}
    for i, (one, other) in enumerate(merges):
        spelled[pieces.NUM_PLAIN + i] = spelled[one] + spelled[other]
    return b"".join(spelled[token] for token in tokens)


@pytest.mark.parametrize("text", [*ODD, *FRAME["text"].head(5)])
def test_pieces_spell_the_text_again(text):
    tokens = pieces.Pieces(MERGES).tokens(text, 100_000)
    assert bytes_of(tokens, MERGES) == text.encode()


def test_merges_are_those_of_a_plain_search():
    """The definition: count all pairs anew, join the commonest (of like ones the lowest), again."""
    some = ["low low low lower lowest", "newer wider newest widest low"]
    words = [word for text in some for word in pieces._WORD.findall(text)]
    ids, found = [pieces._plain(word) for word in words], []
    for new in range(pieces.NUM_PLAIN, pieces.NUM_PLAIN + 12):
        counts: dict[tuple[int, int], int] = {}
        for word in ids:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        if counts[best] < 2:
            break
        found.append(best)
        ids = [pieces.joined(word, best, new) for word in ids]
    assert list(pieces.learnt(some, pieces.NUM_PLAIN + 12)) == found
    assert len(found) > 8


def test_merges_do_not_hang_on_the_order_of_the_texts():
    shuffled = FRAME["text"].to_list()
    random.Random(3).shuffle(shuffled)
    assert pieces.learnt(shuffled, 400) == MERGES


@pytest.mark.parametrize("is_bag", [True, False])
def test_words_are_saved_and_read_back(is_bag):
    words = learn_words(SAMPLES, ("text",), is_bag=is_bag, most=50, rows=len(SAMPLES))
    again = Words.from_dict(words.to_dict())
    assert again == words
    assert (again.encode(SAMPLES) == words.encode(SAMPLES)).all()
    assert words.encode(SAMPLES).max() < words.num_tokens


def test_the_bag_weighs_as_tf_idf_does():
    tokens = torch.from_numpy(hashed.hashed(FRAME["text"], num_buckets=512, length=64))
    model = Bag(512, 4, 2)
    model.learn(tokens)
    table = np.zeros((len(tokens), 512))
    for row, ids in enumerate(tokens.numpy()):
        table[row, ids[ids > 0]] = 1
    expected = TfidfTransformer().fit(table).idf_
    seen = table.any(axis=0)
    np.testing.assert_allclose(model.rarity.numpy()[seen], expected[seen], rtol=1e-5)
    assert (model.rarity.numpy()[~seen] == 0).all()


def test_a_bag_knows_no_order_no_filler_and_nothing_that_it_never_saw():
    model = Bag(64, 4, 3)
    model.learn(torch.tensor([[2, 3, 4, 0], [3, 5, 0, 0]]))
    plain = model(torch.tensor([[2, 3, 4]]))
    for other in ([4, 2, 3], [2, 3, 4, 0, 0], [2, 3, 4, 60, 61]):
        torch.testing.assert_close(model(torch.tensor([other])), plain)
    nothing = model(torch.tensor([[60, 61, 0], [0, 0, 0]]))
    torch.testing.assert_close(nothing, model.head.bias.expand(2, 3))
    assert not torch.allclose(model(torch.tensor([[2, 3]])), plain)


def test_naive_bayes_is_that_of_scikit_learn():
    labels = (FRAME["verdict"] == "praise").to_numpy().astype(np.int64)
    tokens = hashed.hashed(FRAME["text"], num_buckets=300, length=64)
    table = np.zeros((len(tokens), 300))
    for row, ids in enumerate(tokens):
        np.add.at(table[row], ids[ids > 0], 1)
    known = table[:90].any(axis=0)
    model = MultinomialNB().fit(table[:90][:, known], labels[:90])
    found = naive_bayes((tokens[:90], labels[:90]), tokens[90:])
    assert (found == model.predict(table[90:][:, known])).all()


def fitted(out, **settings):
    asked = {"text": "text", "target": "verdict", "steps": 60, "lr": 1e-2, "batch_size": 32}
    return thalweg.fit(FRAME, out=out, quiet=True, **{**asked, **settings})


@pytest.mark.parametrize("model", [None, "bag:4", "transformer:16x1", "transformer:16x1,heads=2"])
def test_texts_are_learnt_saved_and_predicted(model, tmp_path):
    run = fitted(str(tmp_path), **({} if model is None else {"model": model}))
    assert run.result["test"]["accuracy"] > 0.8
    assert run.result["model"] == (model or "bag:16")
    assert run.result["baselines"].keys() == {"constant", "words"}
    again = thalweg.load(run.folder)
    path = tmp_path / "new.csv"
    FRAME.select("number", "text").write_csv(path)
    answers = run.predict(FRAME)
    for data in (FRAME, str(path), FRAME["text"].to_list(), FRAME["text"], FRAME.to_pandas()):
        found = again.predict(data)
        assert found["prediction"].to_list() == answers["prediction"].to_list()
        np.testing.assert_array_equal(found["probability_praise"], answers["probability_praise"])
    assert again.evaluate(FRAME)["accuracy"] > 0.9
    assert again.predict(["a good day", None, ""]).height == 3
    columns = run.record.results["columns"]
    assert [row["name"] for row in columns if row["use"] != "dropped"] == ["text"]


def test_new_texts_that_are_empty_are_said(tmp_path, capsys):
    run = fitted(str(tmp_path), steps=2)
    path = tmp_path / "new.csv"
    pl.DataFrame({"text": ["a good day", None, "  ", ""]}).write_csv(path)
    assert main(["predict", str(run.folder), str(path)]) == 0
    assert "3 of 4 texts in 'text' are empty" in capsys.readouterr().err
    FRAME.select("text").write_csv(path)
    assert main(["predict", str(run.folder), str(path)]) == 0
    assert "empty" not in capsys.readouterr().err


def test_numbers_several_columns_and_weights(tmp_path):
    frame = FRAME.with_columns(weight=pl.Series([1.0, 2.0] * 60))
    run = thalweg.fit(
        frame,
        text=["title", "text"],
        target="stars",
        task="regression",
        weights="weight",
        steps=150,
        lr=1e-2,
        out=str(tmp_path),
        quiet=True,
    )
    assert run.result["task"]["kind"] == "regression"
    assert run.result["test"]["r2"] > 0.7
    with pytest.raises(DataError, match="several columns"):
        run.predict(["one text"])
    assert thalweg.load(run.folder).predict(frame.drop("stars")).height == len(frame)


def test_a_title_alone_says_nothing_and_is_worth_no_better_than_the_constant(tmp_path):
    run = fitted(None, text="title", patience=2)
    assert run.result["test"]["accuracy"] < 0.9


def test_copies_of_a_text_in_two_parts_are_said(capsys):
    double = pl.concat([FRAME, FRAME])
    run = thalweg.fit(double, text="text", target="verdict", steps=5, out=None, quiet=True)
    assert any("stand in two parts" in line for line in run.result["split"]["warnings"])


def test_broken_texts_are_read_counted_and_said(tmp_path, capsys):
    lines = [f"{text},{v}".encode() for text, v in FRAME.select("text", "verdict").iter_rows()]
    lines[3] = b"a \xff\xfe good day," + lines[3].rpartition(b",")[2]
    lines[5] = b"a \x00 day," + lines[5].rpartition(b",")[2]
    lines[9] = "un caf\u00e9 tr\u00e8s fran\u00e7ais,".encode() + lines[9].rpartition(b",")[2]
    lines[7] = b"," + lines[7].rpartition(b",")[2]
    path = tmp_path / "broken.csv"
    path.write_bytes(b"\n".join([b"text,verdict", *lines]))
    found = ["--steps", "5", "--out", str(tmp_path), "--name", "broken"]
    assert main(["fit", str(path), "--text", "text", "--target", "verdict", *found]) == 0
    said = capsys.readouterr().err
    assert "no UTF-8" in said or "UTF-8 text but for" in said
    assert "1 NUL byte" in said
    assert "2 texts hold characters that cannot be read" in said
    assert "1 text holds nothing (first: row 8)" in said


BAD = [
    ({"text": "txt"}, DataError, "did you mean 'text'"),
    ({"text": "verdict"}, UsageError, "text and target are both 'verdict'"),
    ({"text": ","}, UsageError, "names no column"),
    ({"columns": "text"}, UsageError, "columns has no effect with --text"),
    ({"types": "text=category"}, UsageError, "types has no effect"),
    ({"model": "linear"}, UsageError, "take one of bag, transformer"),
    ({"model": "bag:8,8"}, UsageError, "has one width"),
    ({"model": "bag:x"}, UsageError, "write bag:WIDTH"),
    ({"context": 3}, UsageError, "context is 3"),
]


@pytest.mark.parametrize(("settings", "error", "words"), BAD, ids=[row[2] for row in BAD])
def test_what_cannot_be_is_refused_in_one_line(settings, error, words, tmp_path):
    with pytest.raises(error, match=words) as found:
        fitted(str(tmp_path), **settings)
    assert "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())


def test_columns_that_hold_no_text_are_named(tmp_path):
    lists = FRAME.with_columns(text=pl.Series([[1]] * len(FRAME)))
    with pytest.raises(DataError, match=r"column 'text' holds List"):
        thalweg.fit(lists, text="text", target="verdict", out=None, quiet=True)
    run = fitted(None, steps=5)
    with pytest.raises(DataError, match="lacks the column 'text'"):
        run.evaluate(FRAME.drop("text"))


def ended(folder, kind: str, step: int) -> int | None:
    return apart.ended(texts.train, str(folder), kind, step).exitcode


@pytest.mark.parametrize(
    "kind",
    [kind if kind == "lm" else pytest.param(kind, marks=pytest.mark.slow) for kind in texts.KILLED],
)
def test_killed_and_resumed_the_weights_are_the_same_to_the_bit(kind, tmp_path):
    FRAME.write_csv(tmp_path / "reviews.csv")
    (tmp_path / "prose.txt").write_text(texts.prose())
    assert ended(tmp_path / "whole", kind, 0) == 0
    assert ended(tmp_path / "cut", kind, 25) == -9
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert ended(tmp_path / "cut", kind, 0) == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


FORMS = {
    "a list": list,
    "an array": np.array,
    "a column": lambda texts: pl.Series("mail", texts),
}


@pytest.mark.parametrize("model", [None, "transformer:16x1"])
@pytest.mark.parametrize("form", FORMS)
def test_texts_and_their_targets_need_no_table(form, model):
    known, labels = FRAME["text"].to_list(), FRAME[FRAME.columns[-1]].to_list()
    run = thalweg.fit((FORMS[form](known), labels), model=model, steps=5, out=None, quiet=True)
    assert run.schema.words.columns == ("text",)
    assert len(run.predict(known[:7])) == 7
