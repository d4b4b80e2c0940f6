"""What is seen of samples: leaks, order, repeats, classes and labels, beside sound neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import thalweg
from looked_at import adam, cross_entropy, mlp
from thalweg.health.data import in_samples
from thalweg.health.diagnosis import diagnose
from thalweg.loop.known import MOST, Known
from thalweg.loop.seen import Seen
from thalweg.probes.answers import Answer
from thalweg.probes.rows import inputs_of, labels_of, prints_of, targets_of
from thalweg.record import read
from thalweg.record.as_log import as_log
from thalweg.sample_facts import Overlap, Samples

Batches = Iterator[tuple[Tensor, Tensor]]


def table(rows: int = 640, columns: int = 6, classes: int = 4, seed: int = 0) -> Any:
    """Numbers, and a class that depends on them."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=source)
    return x, x[:, :classes].argmax(1)


def shuffled(x: Tensor, y: Tensor, *, size: int = 32, epochs: int = 3) -> Batches:
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(size):
            yield x[rows], y[rows]


def in_order(x: Tensor, y: Tensor, *, size: int = 32, epochs: int = 3) -> Batches:
    for _ in range(epochs):
        yield from zip(x.split(size), y.split(size), strict=True)


def found(
    batches: Batches,
    evaluation: Tensor | None = None,
    *,
    is_told: bool = True,
    change: Callable[[int, Tensor], Tensor] = lambda step, x: x,
) -> dict[str, str]:
    """Severities by code."""
    seen = Seen()
    step = 0
    for step, (x, y) in enumerate(batches, start=1):
        seen.trained(step, [change(step, x)], y)
    if evaluation is not None:
        for part in evaluation.split(128):
            seen.evaluated(step, [part])
        if is_told:
            seen.told(step)
    return {finding.code: finding.severity for finding in in_samples(seen.facts())}


def mixed(*parts: Tensor) -> Tensor:
    whole = torch.cat(parts)
    return whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(5))]


# ------------------------------------------------------------ rows


def test_equal_rows_have_equal_numbers_whatever_their_layout():
    x = torch.randn(8, 3, 40, 40)
    laid_out = x.to(memory_format=torch.channels_last)
    assert torch.equal(prints_of([x]), prints_of([laid_out]))
    assert torch.equal(prints_of([x])[3:5], prints_of([x[3:5].clone()]))
    assert len(prints_of([x]).unique()) == 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
def test_rows_that_differ_in_one_value_have_different_numbers(dtype):
    x = torch.zeros(65, 64, dtype=dtype)
    x[range(64), range(64)] = 1
    assert len(prints_of([x]).unique()) == 65


def test_truth_values_and_many_discrete_rows():
    rows = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 14)
    for x in (rows, rows.bool(), rows.long()):
        prints = torch.cat([prints_of([part]) for part in x.split(4096)])
        assert len(prints.unique()) == 2**14


def test_all_inputs_count():
    users, items = torch.tensor([1, 1, 2]), torch.tensor([5, 6, 5])
    assert len(prints_of([users]).unique()) == 2
    assert len(prints_of([users, items]).unique()) == 3


def test_inputs_among_arguments():
    tokens, mask = torch.ones(4, 7, dtype=torch.long), torch.ones(4, 7)
    given = ((), {"input_ids": tokens, "attention_mask": mask, "labels": tokens})
    assert [x is y for x, y in zip(inputs_of(given), (tokens, mask), strict=True)] == [True, True]
    labels = labels_of(given)
    assert labels is not None
    assert labels.shape == (4, 6)
    assert inputs_of(([{"x": mask}, torch.ones(3, 2)], {})) == [mask]
    assert inputs_of((torch.tensor(1.0), "text", None)) == []


def test_only_so_many_rows_are_kept_and_shares_stay_right():
    known = Known()
    values = torch.arange(2 * MOST).view(-1, 1)
    prints = torch.cat([prints_of([part]) for part in values.split(4096)]).numpy()
    known.add(prints, None)
    assert known.different == pytest.approx(2 * MOST, rel=0.02)
    others = prints_of([torch.arange(-2000, 2000).view(-1, 1)]).numpy()
    rows, shared = known.shared(others)
    assert shared / rows == pytest.approx(0.5, abs=0.1)


# ------------------------------------------------------------ targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_of_a_cross_entropy(smoothing):
    outputs = torch.randn(6, 5, requires_grad=True) * 1
    y = torch.tensor([0, 4, 2, -100, 1, 3])
    loss = functional.cross_entropy(outputs, y, label_smoothing=smoothing) / 4
    told = targets_of(loss)
    assert told is not None
    assert torch.equal(told[0], y)
    assert told[1] == -100
    loss.backward()
    assert targets_of(loss) is None


def test_targets_of_numbers():
    outputs, y = torch.randn(6, 1, requires_grad=True), torch.randn(6, 1)
    for loss_of in (functional.mse_loss, functional.huber_loss, functional.smooth_l1_loss):
        told = targets_of(loss_of(outputs, y))
        assert told is not None
        assert torch.equal(told[0], y)


def test_two_targets_are_none():
    outputs = torch.randn(6, 5, requires_grad=True)
    a, b = torch.randint(5, (2, 6))
    mixed = 0.3 * functional.cross_entropy(outputs, a) + 0.7 * functional.cross_entropy(outputs, b)
    assert targets_of(mixed) is None


def test_classes_after_the_backward_pass():
    outputs = torch.randn(6, 5, requires_grad=True) * 3
    answer = Answer(outputs)
    y = torch.tensor([0, 4, 2, -100, 1, 3])
    loss = functional.cross_entropy(outputs, y) / 4
    assert answer.targets(loss) is None
    loss.backward()
    told = answer.targets(loss)
    assert told is not None
    assert torch.equal(told, y)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_of_another_loss_are_not_told(smoothing):
    outputs = torch.randn(6, 5, requires_grad=True) * 3
    answer = Answer(outputs)
    y = torch.randint(5, (6,))
    loss = functional.cross_entropy(2 * outputs, y, label_smoothing=smoothing)
    loss.backward()
    assert answer.targets(loss) is None


# ------------------------------------------------------------ leaks


def test_rows_in_both_parts():
    x, y = table()
    fresh, _ = table(300, seed=1)
    for shared in (40, 200, 300):
        both = mixed(x[:shared], fresh[shared:])
        assert found(shuffled(x, y), both) == {"TW205": "act"}
    assert found(shuffled(x, y), mixed(x[:20], fresh[20:])) == {}
    assert found(shuffled(x, y), fresh) == {}


def test_without_being_told_it_is_only_a_warning():
    x, y = table()
    fresh, _ = table(300, seed=1)
    both = mixed(x[:150], fresh[150:])
    assert found(shuffled(x, y), both, is_told=False) == {"TW205": "warn"}
    assert found(shuffled(x, y), x[:300], is_told=False) == {}


def test_scoring_both_parts_is_no_leak():
    x, y = table()
    fresh, _ = table(256, seed=1)
    assert found(shuffled(x, y), torch.cat([x[:256], fresh])) == {}


def test_scoring_train_rows_before_the_first_epoch_is_over():
    x, y = table(6400)
    assert found(shuffled(x, y, epochs=1), x[::2], is_told=False) == {}


def test_scoring_rows_before_they_are_trained_on():
    x, y = table()
    seen = Seen()
    for step, (rows, labels) in enumerate(in_order(x, y, epochs=1), start=1):
        seen.evaluated(step - 1, [rows])
        seen.told(step - 1)
        seen.trained(step, [rows], labels)
        seen.trained(step, [rows], labels)
        assert [f.code for f in in_samples(seen.facts()) if f.code == "TW205"] == []


def test_augmented_rows_are_not_found():
    x, y = table()
    source = torch.Generator().manual_seed(9)

    def noisy(step: int, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn(x.shape, generator=source)

    assert found(shuffled(x, y), x[:300], change=noisy) == {}


def test_a_small_discrete_table_repeats_by_itself():
    source = torch.Generator().manual_seed(2)
    x = torch.randint(3, (1000, 4), generator=source).float()
    y = torch.where(torch.rand(1000, generator=source) < 0.7, x[:, 0] > x[:, 1], x[:, 2] > 1).long()
    assert found(shuffled(x[:700], y[:700]), x[700:]) == {}


def test_a_balanced_sampler_with_replacement():
    x, y = table()

    def drawn() -> Batches:
        source = torch.Generator().manual_seed(4)
        for _ in range(60):
            rows = torch.randint(len(x), (32,), generator=source)
            yield x[rows], y[rows]

    assert found(drawn(), table(300, seed=1)[0]) == {}


def test_few_rows_say_nothing():
    x, y = table()
    assert found(shuffled(x, y), x[:15]) == {}


@pytest.mark.parametrize("share", [0.9, 1.0])
def test_columns_that_give_the_class_away(share):
    x, y = table(columns=12)
    is_hit = torch.rand(len(x), generator=torch.Generator().manual_seed(0)) < share
    one_hot = functional.one_hot(y, 4).float() * 4
    told = x.clone()
    told[:, 4:8] = torch.where(is_hit[:, None], one_hot, 0.0)
    assert found(shuffled(told, y)) == {"TW205": "act"}
    number = x.clone()
    number[:, 5] = torch.where(is_hit, 3.0 * y - 1, 0.5)
    assert found(shuffled(number, y)) == {"TW205": "act"}
    nearly = x.clone()
    nearly[:, 5] = torch.where(is_hit, y + 0.2 * x[:, 6], 0.5)
    assert found(shuffled(nearly, y)) == {}


def test_a_column_that_nearly_decides():
    source = torch.Generator().manual_seed(3)
    x = torch.randint(3, (640, 8), generator=source).float()
    y = torch.where(torch.rand(640, generator=source) < 0.95, x[:, 2].long(), x[:, 3].long())
    x = torch.cat([x, torch.randn(640, 4, generator=source)], 1)
    assert found(shuffled(x, y)) == {}


def test_columns_that_give_a_number_away():
    x, _ = table()
    y = x[:, :1].sin() + x[:, 1:2]
    assert found(shuffled(x, y)) == {}
    assert found(shuffled(torch.cat([x, y], 1), y)) == {"TW205": "act"}
    assert found(shuffled(torch.cat([x, 3 * y - 2], 1), y)) == {"TW205": "warn"}


def test_a_line_through_one_column_is_a_task():
    x = torch.randn(640, 1)
    assert found(shuffled(x, 3 * x + 1)) == {}


def test_symbols_that_are_to_be_found_and_go_in():
    x = torch.randint(50, (640, 13), generator=torch.Generator().manual_seed(5))
    assert found(shuffled(x[:, :-1], x[:, 1:])) == {}
    assert found(shuffled(x, x)) == {"TW205": "warn"}


# ------------------------------------------------------------ batches


@pytest.mark.parametrize("num", [1, 2, 8])
def test_the_same_batches_while_others_are_evaluated(num):
    x, y = table(32 * num)
    severity = "act" if num > 1 else "warn"  # one batch may be a small set as a whole
    assert found(in_order(x, y, epochs=60), table(300, seed=1)[0]) == {"TW207": severity}


def test_a_small_set_as_a_whole():
    x, y = table(100)
    assert found(in_order(x, y, size=100, epochs=60), table(300, seed=1)[0]) == {}


def test_the_same_batches_from_the_middle_on():
    x, y = table()
    batches = [*shuffled(x, y), *list(in_order(x[:64], y[:64], epochs=20))]
    assert found(iter(batches)) == {"TW207": "act"}


def test_one_batch_on_purpose():
    x, y = table(32)
    assert found(in_order(x, y, epochs=100)) == {}
    assert found(in_order(x, y, epochs=100), table(20, seed=1)[0]) == {}


def test_few_batches_in_one_order_are_a_warning():
    x, y = table(160)
    assert found(in_order(x, y, epochs=20)) == {"TW207": "warn"}
    assert found(shuffled(x, y, epochs=20)) == {}


def test_inputs_that_are_all_alike_are_another_matter():
    x, y = torch.zeros(640, 6), table()[1]
    assert found(shuffled(x, y), torch.randn(300, 6)) == {}


def test_noise_that_a_generator_is_given():
    source = torch.Generator().manual_seed(6)
    noise = ((torch.randn(32, 8, generator=source), torch.ones(32, 1)) for _ in range(60))
    assert found(noise, torch.randn(300, 8)) == {}


def sorted_by_class() -> Any:
    x, y = table()
    order = y.argsort(stable=True)
    return x[order], y[order]


def test_sorted_batches():
    assert found(in_order(*sorted_by_class())) == {"TW206": "act"}
    x, y = table()
    assert found(in_order(x, y)) == {}
    assert found(shuffled(*sorted_by_class())) == {}


def test_sorted_numbers():
    x, _ = table()
    y = x[:, :1].sin() + x[:, 1:2]
    order = y[:, 0].argsort()
    assert found(in_order(x[order], y[order])) == {"TW206": "warn"}
    assert found(shuffled(x, y)) == {}


def test_real_and_made_by_turns_are_not_sorted():
    source = torch.Generator().manual_seed(7)
    turns = (
        (torch.randn(32, 8, generator=source), torch.full((32, 1), float(i % 2))) for i in range(80)
    )
    assert found(turns) == {}


def test_some_of_each_class_in_a_batch_are_not_sorted():
    x, y = table(2000, classes=4)
    by_class = [x[y == label] for label in range(4)]

    def drawn() -> Batches:
        source = torch.Generator().manual_seed(8)
        for _ in range(60):
            rows = [of[torch.randint(len(of), (8,), generator=source)] for of in by_class]
            yield torch.cat(rows), torch.arange(4).repeat_interleave(8)

    assert found(drawn()) == {}


def test_labels_that_are_places():
    x, _ = table(64)
    pairs = ((rows, torch.arange(len(rows))) for rows, _ in shuffled(x, x[:, 0], epochs=30))
    assert found(pairs) == {}


# ------------------------------------------------------------ labels


def rare(num: int, rows: int = 2000) -> Any:
    x, _ = table(rows)
    y = torch.zeros(rows, dtype=torch.long)
    y[torch.randperm(rows, generator=torch.Generator().manual_seed(1))[:num]] = 1
    return x, y


def test_a_rare_class():
    assert found(shuffled(*rare(3))) == {"TW204": "warn"}
    assert found(shuffled(*rare(20))) == {"TW204": "warn"}
    assert found(shuffled(*rare(100))) == {}


def test_many_classes_are_not_rare_ones():
    x, _ = table(2000)
    y = torch.randint(200, (2000,), generator=torch.Generator().manual_seed(1))
    assert found(shuffled(x, y, epochs=1)) == {}


def test_inputs_with_several_labels():
    x, y = table(600)
    twice, other = torch.cat([x, x[:200]]), torch.cat([y, (y[:200] + 1) % 4])
    assert found(shuffled(twice, other)) == {"TW203": "warn"}
    assert found(shuffled(twice, torch.cat([y, y[:200]]))) == {}


def test_labels_that_differ_in_a_table_whose_rows_repeat():
    source = torch.Generator().manual_seed(2)
    x = torch.randint(3, (1000, 4), generator=source).float()
    assert found(shuffled(x, torch.randint(2, (1000,), generator=source))) == {}


@pytest.mark.parametrize(("every", "severity"), [(3, "act"), (60, "warn")])
def test_masked_labels(every, severity):
    x, y = table(1920)
    batches = [
        (rows, torch.full_like(labels, -100) if i % every == every - 1 else labels)
        for i, (rows, labels) in enumerate(shuffled(x, y, epochs=1))
    ]
    assert found(iter(batches)) == {"TW310": severity}


def test_prompts_may_be_masked():
    x = torch.randint(50, (640, 13), generator=torch.Generator().manual_seed(5))
    y = x[:, 1:].clone()
    y[:, :8] = -100
    assert found(shuffled(x[:, :-1], y)) == {}


# ------------------------------------------------------------ judging


def test_chance_is_set_against_what_is_shared():
    shared = Samples(90, 2880, 960, 0.0, overlap=Overlap(90, 300, 60, is_told=True))
    assert [f.code for f in in_samples(shared)] == ["TW205"]
    by_chance = Samples(90, 2880, 960, 0.15, overlap=Overlap(90, 300, 60, is_told=True))
    assert list(in_samples(by_chance)) == []


# ------------------------------------------------------------ beside a loop


def trained(
    batches: Batches,
    evaluation: Tensor | None = None,
    *,
    model: nn.Module | None = None,
    at: str = "loss",
    call: Callable[[nn.Module, Tensor], Tensor] = lambda model, x: model(x),
    share: float = 0.01,
) -> Any:
    model = model or mlp().insert(4, nn.Dropout(0.1))
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None, share=share) as monitor:
        for x, y in batches:
            model.train()
            optimizer.zero_grad()
            loss = functional.cross_entropy(call(model, x), y)
            if at == "loss":
                monitor(loss)
            loss.backward()
            optimizer.step()
            if at == "end":
                monitor(loss)
        if evaluation is not None:
            model.eval()
            with torch.no_grad():
                for part in evaluation.split(64):
                    call(model, part)
            monitor.evaluation(loss=1.0)
    assert monitor.fault == ""
    return monitor


DATA = ("TW203", "TW204", "TW205", "TW206", "TW207", "TW310")


def codes(monitor: Any) -> list[str]:
    return [finding.code for finding in monitor.findings if finding.code in DATA]


@pytest.mark.parametrize("at", ["loss", "end"])
def test_the_monitor_tells(at):
    x, y = table(columns=8)
    order = y.argsort(stable=True)
    assert codes(trained(in_order(x[order], y[order]), x[:300], at=at)) == ["TW206", "TW205"]
    fresh, _ = table(300, columns=8, seed=1)
    assert codes(trained(shuffled(x, y), fresh, at=at)) == []
    assert codes(trained(in_order(x[:32], y[:32], epochs=40), fresh, at=at)) == ["TW207"]


def test_it_tells_while_the_training_goes_on():
    x, y = table(columns=8)
    order = y.argsort(stable=True)
    model = mlp()
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        for rows, labels in in_order(x[order], y[order], epochs=2):
            optimizer.zero_grad()
            loss = cross_entropy(model, rows, labels)
            loss.backward()
            optimizer.step()
            monitor(loss)
        assert codes(monitor) == ["TW206"]


class Named(nn.Module):
    """Takes its inputs by name, as models of texts do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, *, batch: dict[str, Tensor]) -> Tensor:
        return self.inner(batch["x"])


def test_inputs_by_name():
    x, y = table(columns=8)

    def call(model: nn.Module, x: Tensor) -> Tensor:
        return model(batch={"x": x})

    told = trained(shuffled(x, y), x[:300], model=Named(), call=call)
    assert codes(told) == ["TW205"]


def test_pictures_of_bytes():
    class Pictures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.float() / 255)

    source = torch.Generator().manual_seed(1)
    x = torch.randint(256, (320, 3, 8, 8), dtype=torch.uint8, generator=source)
    y = torch.randint(4, (320,), generator=source)
    other = torch.randint(256, (100, 3, 8, 8), dtype=torch.uint8, generator=source)
    assert codes(trained(shuffled(x, y), x[:100], model=Pictures())) == ["TW205"]
    assert codes(trained(shuffled(x, y), other, model=Pictures())) == []


def test_numbers_for_losses_leave_targets_unknown():
    x, y = table(columns=8)
    model = mlp()
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        for rows, labels in shuffled(x, y):
            optimizer.zero_grad()
            loss = cross_entropy(model, rows, labels)
            loss.backward()
            optimizer.step()
            monitor(loss.item())
    assert any(text.startswith("order and shares") for text in monitor.not_seen())


def test_later_batches_are_looked_at_as_often_as_it_is_cheap():
    x, y = table(6400, columns=8)
    monitor = trained(shuffled(x, y, epochs=1))
    assert 30 <= monitor._samples._num_looks < 200
    assert trained(shuffled(x, y, epochs=1), share=0.0)._samples._num_looks == 1


def test_one_that_is_compiled_is_left_alone():
    x, y = table(columns=8)
    model = torch.compile(mlp(), backend="eager")
    assert trained(shuffled(x, y, epochs=1), model=model)._samples._num_looks == 0


@pytest.mark.parametrize("at", ["loss", "end"])
def test_training_is_the_same_to_the_bit(at):
    def weights(share: float | None) -> list[Tensor]:
        torch.manual_seed(1)
        model = mlp().insert(4, nn.Dropout(0.3))
        optimizer = adam(model)
        monitor = thalweg.monitor(model, optimizer, tell=None, share=share or 0.0)
        if share is not None:
            monitor.__enter__()
        for i, (x, y) in enumerate(shuffled(*table(columns=8))):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            if share is not None and at == "loss":
                monitor(loss)
            loss.backward()
            optimizer.step()
            if share is not None and at == "end":
                monitor(loss)
            if i % 10 == 0:
                with torch.no_grad():
                    model(x)
        if share is not None:
            assert monitor._samples._num_answers > 30
            monitor.__exit__(None)
            assert monitor.fault == ""
        return [*(p.detach().clone() for p in model.parameters()), torch.get_rng_state()]

    for a, b in zip(weights(None), weights(1.0), strict=True):
        assert torch.equal(a, b)


def test_a_fault_inside_ends_nothing(monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("thalweg.loop.samples.inputs_of", broken)
    model = mlp()
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        loss = cross_entropy(model, *next(shuffled(*table(columns=8))))
        loss.backward()
        optimizer.step()
        monitor(loss)
    assert monitor.fault == "ZeroDivisionError: planted"
    assert not model._forward_pre_hooks
    assert not model._forward_hooks


# ------------------------------------------------------------ what fit knows


def test_what_fit_found_as_it_shared_out_the_data_is_in_its_verdict(tmp_path):
    source = np.random.default_rng(0)
    x = source.normal(size=(600, 4))
    y = (x[:, 0] + 0.3 * source.normal(size=600) > 0).astype(int)
    sound = pl.DataFrame(x).with_columns(y=pl.Series([f"k{v}" for v in y]))
    leaks = pl.concat([sound, sound[:200]]).with_columns(told="is " + pl.col("y"))
    few = sound.with_columns(y=pl.Series(["b"] * 9 + ["a"] * 591))
    said = {}
    for name, frame in (("sound", sound), ("leaks", leaks), ("few", few)):
        run = thalweg.fit(frame, target="y", steps=20, out=tmp_path)
        verdict = diagnose(as_log(read(run.folder), name))
        for found in (run.verdict, verdict):
            rows = [f for f in found.findings if f.code in DATA]
            said.setdefault(name, []).append([(f.code, f.severity) for f in rows])
        said[name].append([f.evidence["says"] for f in run.verdict.findings if f.code in DATA])
    assert said["sound"] == [[], [], []]
    assert said["few"][:2] == [[("TW204", "warn")]] * 2
    assert said["leaks"][:2] == [[("TW205", "warn")]] * 2
    assert "rows stand in train" in said["leaks"][2][0]
    assert "column 'told' gives the target away" in said["leaks"][2][0]


# ------------------------------------------------------------ training beside evaluation


def scaled(x: Tensor) -> Tensor:
    return (x - 40.0) / 12.0


def raw(rows: int, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return 40.0 + 12.0 * torch.randn(rows, 6, generator=source)


@pytest.mark.parametrize("is_told", [True, False])
def test_an_evaluation_that_was_not_scaled(is_told):
    batches = shuffled(scaled(raw(640, 0)), table()[1])
    severity = "act" if is_told else "warn"
    assert found(batches, raw(200, 1), is_told=is_told)["TW208"] == severity


def test_pixels_of_0_to_255_in_the_evaluation_alone():
    x = torch.rand(640, 3, 8, 8)
    told = found(shuffled(x, table()[1]), 255 * torch.rand(100, 3, 8, 8))
    assert told["TW208"] == "act"
    seen = Seen()
    seen.trained(1, [x[:64]])
    seen.evaluated(1, [255 * x[64:128]])
    text = next(in_samples(seen.facts())).evidence["what"]
    assert "192 of 192 columns" in text
    assert "times as large" in text


@pytest.mark.parametrize(
    "other",
    [
        scaled(raw(200, 1)),
        scaled(raw(200, 1)) * 3.0 + 1.0,  # another hospital
        scaled(raw(10, 1)) * 300.0,  # too few rows
        scaled(raw(200, 1))[:, :4] * 300.0,  # another input
        (scaled(raw(200, 1)) * 300.0).long(),
    ],
)
def test_an_evaluation_that_is_much_like_training(other):
    assert "TW208" not in found(shuffled(scaled(raw(640, 0)), table()[1]), other)


def test_noise_in_training_on_columns_that_are_mostly_zero():
    source = torch.Generator().manual_seed(6)
    x = (torch.rand(640, 40, generator=source) < 0.01).float()
    noisy = [(v + 0.5 * torch.randn(v.shape, generator=source), y) for v, y in shuffled(x, x[:, 0])]
    assert "TW208" not in found(iter(noisy), (torch.rand(200, 40, generator=source) < 0.01).float())


def test_outliers_in_a_few_rows_of_an_evaluation():
    other = scaled(raw(200, 1))
    other[:3, :3] *= 200.0
    assert "TW208" not in found(shuffled(scaled(raw(640, 0)), table()[1]), other)


def test_noise_and_dropout_on_what_is_trained_on():
    x, y = scaled(raw(640, 0)), table()[1]
    noise = torch.Generator().manual_seed(3)
    kept = [(v * (torch.rand(v.shape, generator=noise) < 0.3), y) for v, y in shuffled(x, y)]
    assert "TW208" not in found(iter(kept), scaled(raw(200, 1)))


# ------------------------------------------------------------ copies, and rows that are favoured


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_one_row_fills_each_batch(share):
    x, y = table()
    filled = []
    for inputs, targets in shuffled(x, y):
        copied = inputs.clone()
        copied[: int(share * len(inputs))] = inputs[0]
        filled.append((copied, targets))
    assert found(iter(filled))["TW207"] == "act"


def test_rows_that_are_often_empty():
    x, y = table()
    x = x * (torch.rand(len(x), 1, generator=torch.Generator().manual_seed(2)) < 0.3)
    assert "TW207" not in found(shuffled(x, y))


def drawn(weights: Tensor, *, steps: int = 60) -> Batches:
    x, y = table()
    source = torch.Generator().manual_seed(4)
    for _ in range(steps):
        rows = torch.multinomial(weights, 32, replacement=True, generator=source)
        yield x[rows], y[rows]


@pytest.mark.parametrize(("steps", "severity"), [(60, "warn"), (200, "act")])
def test_a_sampler_that_favours_a_few(steps, severity):
    weights = torch.full((640,), 0.05)
    weights[:24] = 50.0
    assert found(drawn(weights, steps=steps), table(200, seed=1)[0])["TW207"] == severity


def test_a_sampler_that_balances_classes():
    weights = torch.full((640,), 1.0)
    weights[:10] = 60.0  # as much as all the others
    assert "TW207" not in found(drawn(weights), table(200, seed=1)[0])
