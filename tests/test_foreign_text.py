"""Logs that are lines of text, in the ways in which people's loops print them."""

from __future__ import annotations

import numpy as np
import pytest

from foreign_kit import curve, read, written
from thalweg.errors import DataError

MEGATRON = (
    " iteration {0:8d}/  500000 | consumed samples: {1:12d} | elapsed time per iteration (ms): "
    "1234.5 | learning rate: 1.500E-04 | global batch size:   512 | lm loss: {2:.6E} | loss scale: "
    "4096.0 | grad norm: 1.234 | number of skipped iterations:   {3} | "
    "number of nan iterations:   0 |"
)
RED, END = "\x1b[31m", "\x1b[0m"


def text(line, count=5, first=0, by=10):
    """Lines with step {0}, loss {1} and epoch {2}."""
    steps = range(first, first + by * count, by)
    return "\n".join(line.format(step, 2 / (1 + i), i + 1) for i, step in enumerate(steps)) + "\n"


STEPS = [0, 10, 20, 30, 40]
LINES = {
    "nanoGPT": ("iter {0}: loss {1:.4f}, time 12.30ms, mfu 3.1%", STEPS),
    "llm.c": (
        "step {0:4d}/19560 | loss {1:.6f} (+nanz)| norm 1.2 (+nanz)| lr 1e-4 | 9.0 ms",
        STEPS,
    ),
    "nanochat": (
        "step {0:05d}/21400 (0.47%) | loss: {1:.6f} | dt: 330.12ms | tok/sec: 1,588,000",
        STEPS,
    ),
    "modded": ("step:{0}/5100 train_loss:{1:.4f} train_time:12000ms step_avg:120.00ms", STEPS),
    "torchtitan": (
        "[titan] 2025-01-01 10:00:0{2},123 - root - INFO - step: {0:2d}  loss: {1:8.4f}  "
        "grad_norm:  1.2  memory:  1.2GiB(3%)  tps: 1,234",
        STEPS,
    ),
    "detectron2": (
        "[11/29 19:43:5{2} d2.utils.events]:  eta: 0:10:00  iter: {0}  total_loss: {1:.3f}  "
        "loss_cls: 1.0  time: 0.3  lr: 1e-5  max_mem: 3000M",
        STEPS,
    ),
    "logging": ("2026-01-02 03:04:0{2},123 - INFO - step {0} loss {1:.4f} lr 1.0e-3", STEPS),
    "absl": ("I0102 03:04:05.123456 140 train.py:33] step = {0}, loss = {1:.4f} (0.51 sec)", STEPS),
    "colours": (f"{RED}step{END} {{0}} {RED}loss{END}={RED}{{1:.4f}}{END}", STEPS),
    "equals": ("[train] global_step={0} loss={1:.4f} lr=0.1", STEPS),
    "a dict": ("{{'step': {0}, 'loss': tensor({1:.4f}), 'lr': 0.1}}", STEPS),
    "tqdm": (" 45%|████▌     | {0}/1000 [00:10<00:12, 44.7it/s, loss={1:.4f}]", STEPS[1:]),
    "fairseq": (
        "2025-01-01 10:00:00 | INFO | train_inner | epoch 001: {0:6d} / 5000 loss={1:.3f}, "
        "ppl=300, wps=3000, ups=1.5, num_updates={0}, lr=1e-05, gnorm=1.2",
        STEPS,
    ),
    "torchvision": (
        "Epoch: [0]  [{0}/391]  eta: 0:01:00  lr: 0.1  loss: {1:.4f} (2.3)  time: 0.2",
        STEPS,
    ),
    "imagenet": (
        "Epoch: [0][{0:3d}/391]\tTime  0.200 ( 0.300)\tLoss {1:.4e} (2.31e+00)\tAcc@1  10.94",
        STEPS,
    ),
    "tutorial": ("[1, {0:5d}] loss: {1:.3f}", STEPS),
    "steps": ("Epoch [1/5], Step [{0}/600], Loss: {1:.4f}", STEPS),
    "mmengine": (
        "2025/01/01 10:00:00 - mmengine - INFO - Epoch(train)  [1][{0:3d}/7330]  lr: 2e-03  "
        "eta: 1 day  time: 0.5  loss: {1:.4f}",
        STEPS,
    ),
    "keyword": ("Step {0} | Train Loss: {1:.4f} | Acc: 0.3", STEPS),
    "epochs": ("Epoch {2}: train loss 0{1:.4f} acc 0.31", [1, 2, 3, 4, 5]),
    "mnist": ("Train Epoch: {2} [0/60000 (0%)]\tLoss: {1:.6f}", [1, 2, 3, 4, 5]),
}


@pytest.mark.parametrize(("line", "steps"), LINES.values(), ids=LINES)
def test_each_way_of_printing_a_loss_is_read(tmp_path, line, steps):
    log = read(written(tmp_path, "train.log", text(line)))
    found = curve(log, "loss")
    assert log.format == "text"
    assert [step for step, _ in found] == steps
    losses = [2 / (1 + i) for i in range(5)]
    np.testing.assert_allclose([v for _, v in found], losses[len(losses) - len(steps) :], atol=6e-4)


def test_nanogpt_prints_losses_on_both_sets_beside_those_of_the_steps(tmp_path):
    lines = [
        "Overriding: batch_size = 32",
        "max_iters = 5000",
        "learning_rate: 6e-4",
        "number of parameters: 10.65M",
        "step 0: train loss 4.2874, val loss 4.2823",
        "iter 0: loss 4.2654, time 9000.00ms, mfu -100.00%",
        "iter 10: loss 3.2395, time 20.50ms, mfu 17.2%",
        "step 250: train loss 1.9, val loss 2.1",
        "saving checkpoint to out",
        "iter 250: loss 2.0, time 21.50ms, mfu 17.2%",
    ]
    log = read(written(tmp_path, "log.txt", "\n".join(lines)))
    assert log.tool == "nanogpt"
    assert curve(log, "validation_loss") == [(0, 4.2823), (250, 2.1)]
    assert curve(log, "loss") == [(0, 4.2654), (10, 3.2395), (250, 2.0)]
    np.testing.assert_allclose(curve(log, "seconds"), [(0, 9.0), (10, 0.0205), (250, 0.0215)])
    assert log.settings == {"batch_size": 32, "lr": 6e-4, "steps": 5000}


def test_megatron(tmp_path):
    lines = ["  clip_grad ....................................... 1.0", "  bf16 ....... False"]
    lines += ["  fp16 ............... True", "  lr ................ 0.00015"]
    lines += [MEGATRON.format(100 * i, 51200 * i, 6.5 / i, int(i == 2)) for i in range(1, 6)]
    lines.insert(
        6, " validation loss at iteration 200 | lm loss value: 5.1E+00 | lm loss PPL: 1.6E+02 |"
    )
    log = read(written(tmp_path, "megatron.out", "\n".join(lines)))
    assert log.tool == "megatron"
    assert curve(log, "loss")[:2] == [(100, 6.5), (200, 3.25)]
    assert curve(log, "skipped")[:2] == [(100, 0), (200, 1)]
    assert log.series["loss_scale"].values[0] == 4096
    assert log.series["gradient_norm"].values[0] == 1.234
    assert curve(log, "seconds")[0] == (100, 1.2345)
    own = {"clip": 1.0, "precision": "fp16", "lr": 0.00015, "batch_size": 512}
    assert log.settings == {**own, "steps": 500_000}


def test_epochs_of_batches_are_counted_through(tmp_path):
    lines = [
        f"Epoch: [{e}][{b}/391] Loss {3 - e - b / 391:.3f} (1.0)"
        for e in range(2)
        for b in (0, 200)
    ]
    lines += [f" * Acc@1 {70 + e} Acc@5 90" for e in range(2)]
    steps = read(written(tmp_path, "log.txt", "\n".join(lines))).series["loss"].steps
    assert steps.tolist() == [0, 200, 391, 591]


def test_the_tutorial_begins_anew_in_each_epoch(tmp_path):
    lines = [f"[{e}, {b:5d}] loss: {2 / e:.3f}" for e in (1, 2) for b in (2000, 4000)]
    log = read(written(tmp_path, "log.txt", "\n".join(lines)))
    assert log.series["loss"].steps.tolist() == [2000, 4000, 6000, 8000]


def test_a_loss_on_the_test_set_is_no_training_loss(tmp_path):
    lines = []
    for epoch in (1, 2, 3):
        lines += [f"Train Epoch: {epoch} [{n}/60000 (0%)]\tLoss: {1 / epoch}" for n in (0, 30_000)]
        lines += ["", f"Test set: Average loss: {0.5 / epoch:.4f}, Accuracy: 9806/10000 (98%)"]
    log = read(written(tmp_path, "log.txt", "\n".join(lines)))
    assert log.unit == "epoch"
    assert log.series["loss"].steps.tolist() == [1, 1.5, 2, 2.5, 3, 3.5]
    assert curve(log, "validation_loss")[0] == (1.5, 0.5)
    assert log.series["test_accuracy"].values[0] == 0.9806
    assert any("is read in its place" in note for note in log.notes)


def test_words_before_a_number_tell_its_set(tmp_path):
    line = "Epoch {2} | Train Loss: {1:.3f} | Acc: 0.3 | Val Loss: 0.6 | Acc: 0.4"
    log = read(written(tmp_path, "log.txt", text(line)))
    assert log.series["train_accuracy"].values[0] == 0.3
    assert log.series["validation_accuracy"].values[0] == 0.4


def test_a_bar_that_overwrites_itself_is_read_line_by_line(tmp_path):
    bars = "\r".join(
        f" 10%|█ | {i}/1000 [00:01<00:12, 4it/s, loss={2 / i:.3f}]" for i in range(1, 6)
    )
    log = read(written(tmp_path, "log.txt", bars))
    assert log.series["loss"].steps.tolist() == [1, 2, 3, 4, 5]
    assert log.series["seconds"].values[0] == 0.25


def test_bars_of_evaluations_do_not_count_steps(tmp_path):
    lines = []
    for step in (100, 200, 300):
        lines += [
            f" 10%|█ | {step}/1000 [00:01<00:12, 4it/s]",
            f"{{'loss': {1 / step}, 'epoch': 0.1}}",
        ]
        lines += [f"100%|██| {i}/13 [00:01<00:00]" for i in (1, 13)]
        lines += ["Map: 100%|██| 50000/50000 [00:01<00:00, 9it/s]"]
        lines += [f"{{'eval_loss': {2 / step}, 'epoch': 0.1}}"]
    log = read(written(tmp_path, "log.txt", "\n".join(lines)))
    assert log.series["validation_loss"].steps.tolist() == [100, 200, 300]


def test_times_at_the_head_of_lines_tell_seconds_a_step(tmp_path):
    line = "2026-01-02 03:04:0{2},500 INFO trainer: step {0} loss {1:.4f}"
    seconds = read(written(tmp_path, "log.txt", text(line))).series["seconds"]
    np.testing.assert_allclose(seconds.values, 0.1)


BOTH = {
    "a title line": "Epoch {0}\nloss: {1}  [   64/60000]\nTest Error: \n Avg loss: {2}\n",
    "set after the word": "iter {0} | loss train: {1}, val: {2} | iter time: 9.0 ms (step)\n",
    "set before the number": "Epoch {0}/24\ntrain Loss: {1} Acc: 0.7\nval Loss: {2} Acc: 0.9\n",
    "at the end": "[{0}]\ttrain-logloss:{1}\teval-logloss:{2}\n",
    "of two sets": "[{0}]\ttraining's binary_logloss: {1}\tvalid_1's binary_logloss: {2}\n",
    "short": "{0} val {2}\n{0} train {1}\n",
    "lines of results": "Training - Epoch: {0} Loss: {1}\nValidation - Epoch: {0} Loss: {2}\n",
    "camel case": "step {0} trainLoss={1} valLoss={2}\n",
}


@pytest.mark.parametrize("form", BOTH.values(), ids=BOTH)
def test_losses_on_two_sets_are_told_apart(tmp_path, form):
    lines = "".join(form.format(i, 1.0 / i, 2.0 / i) for i in range(1, 6))
    log = read(written(tmp_path, "log.txt", lines))
    np.testing.assert_allclose(log.series["loss"].values, [1 / i for i in range(1, 6)])
    np.testing.assert_allclose(log.series["validation_loss"].values, [2 / i for i in range(1, 6)])
    assert log.unit != "row"


def test_lines_before_the_first_that_counts_lie_before_it(tmp_path):
    lines = [
        f"{{'loss': {1 / i}, 'epoch': 0.01}}\n 1%|█ | {i + 1}/300 [00:20<50:00, 10.1s/it]"
        for i in range(1, 5)
    ]
    log = read(written(tmp_path, "log.txt", "\n".join(lines)))
    assert log.series["loss"].steps.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("word", ["nan", "NaN", "inf", "-inf"])
def test_what_is_no_number_stays_none(tmp_path, word):
    lines = text("step {0}: loss {1:.3f}") + f"step 50: loss {word}\nstep 60: loss {word}\n"
    values = read(written(tmp_path, "log.txt", lines)).series["loss"].values
    assert not np.isfinite(values[-2:]).any()
    assert np.isfinite(values[:-2]).all()


def test_prose_is_no_log(tmp_path):
    prose = "The loss of 3 ships was a cost to 40 owners.\nIn 1912, another loss, of 1 ship.\n" * 3
    for words in (prose, "numpy==2.0\ntorch>=2.13\n", "Usage: train.py --loss mse --steps 100\n"):
        with pytest.raises(DataError):
            read(written(tmp_path, "notes.txt", words))


def test_the_program_at_the_head_of_a_log_is_no_part_of_it(tmp_path):
    program = "".join(f"import part_{i}\ndef f_{i}(x):\n    val_loss = 0\n" for i in range(8))
    lines = "".join(f"step:{10 * i}/100 val_loss:{5 - i / 10:.4f}\n" for i in range(10))
    for rule in ("=" * 60 + "\n", ""):
        log = read(written(tmp_path, "log.txt", program + rule + lines))
        assert curve(log, "validation_loss")[0] == (0, 5)


def test_of_a_loss_and_its_perplexity_the_loss_is_read(tmp_path):
    text = "".join(
        f" iteration {i} | lm loss: {9 - i:.2E} |\n"
        f" validation loss at iteration {i} | lm loss value: {8.5 - i:.2E} | "
        "lm loss PPL: 3.2E+03 |\n"
        for i in range(1, 6)
    )
    log = read(written(tmp_path, "log.txt", text))
    assert curve(log, "validation_loss")[0] == (1, 7.5)
