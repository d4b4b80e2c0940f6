"""Tables and boxes in texts, lines of losses without the word, and runs that begin anew."""

from __future__ import annotations

import pytest

from foreign_kit import curve, read, written
from thalweg.errors import DataError
from thalweg.health.diagnosis import diagnose
from thalweg.record.foreign.log import IN_TURNS, REWARDS

CYCLES = (
    "(epoch: {0}, iters: {1}, time: 0.1, data: 0.2) D_A: {2:.3f} G_A: 0.3 cycle_A: 1.2 idt_A: 0.4"
)
RESTORES = (
    "2026-01-02 03:04:05,123 INFO: [basic..][epoch:  0, iter:{0:8,d}, lr:(2.000e-04,)] "
    "[eta: 1 day, 2:03:04, time (data): 1.6 (0.2)] l_pix: {1:.4e} l_percep: 1.0000e-01 "
)
PIPES = " {0:5d} |  {1:10.4f} | {2:10.4f} |  1.0e-04 |  130.5s | ETA 15.1m *"
BOX = (
    "------\n| rollout/    |      |\n|    ep_rew   | {0}   |\n"
    "| train/      |      |\n|    loss     | {1:.3f} |\n------"
)


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def test_networks_that_play_against_each_other(tmp_path):
    head = "================ Training Loss (Wed Oct 30 10:43:06 2024) ================"
    rows = [CYCLES.format(epoch, at, 1 / epoch) for epoch in (1, 2, 3) for at in (100, 200, 300)]
    log = read(written(tmp_path, "loss_log.txt", lines(head, *rows)))
    assert log.series["loss"].steps.tolist() == [100 * (i + 1) for i in range(9)]
    assert log.kind == IN_TURNS
    assert diagnose(log).state == "unknown"


def test_losses_of_one_network_without_the_word(tmp_path):
    rows = [RESTORES.format(1000 * i, 0.5 / i) for i in range(1, 16)]
    log = read(written(tmp_path, "train.log", lines(*rows)))
    assert curve(log, "loss")[0] == (1000, pytest.approx(0.6))
    assert log.series["loss"].name == "l_pix loss + l_percep loss"


def test_two_letters_of_a_loss(tmp_path):
    text = lines("s:0 tel:10.97", *(f"s:{i} trl:{9 - i / 2}" for i in range(5)), "s:5 tel:6.5")
    log = read(written(tmp_path, "main.log", text))
    assert curve(log, "validation_loss") == [(0, 10.97), (5, 6.5)]
    assert len(log.series["loss"]) == 5


def test_a_table_below_arguments(tmp_path):
    header = "Learning Rate\tTrain Loss\tValid Loss\tTrain Acc\t"
    rows = [f"0.010000\t{2 / i:.4f}\t{2.1 / i:.4f}\t25.0\t" for i in range(1, 6)]
    text = lines("==>Arguments:", "lr:0.01", "schedule:[70, 120]", header, *rows)
    log = read(written(tmp_path, "log.txt", text))
    assert curve(log, "loss")[1] == (1, 1.0)
    assert len(log.series["validation_loss"]) == 5


def test_a_table_between_bars_begun_twice(tmp_path):
    header = " Epoch |  Train Loss |  Val Loss |  LR"
    runs = [PIPES.format(i, 2 / i, 3 / i) for count in (20, 15) for i in range(1, count + 1)]
    text = lines("WARNING: slow", header, "-" * 40, *runs[:20], "again", header, *runs[20:])
    log = read(written(tmp_path, "run_log.txt", text))
    assert len(log.series["loss"]) == 15
    assert log.unit == "epoch"


def test_boxes_of_rewards(tmp_path):
    text = lines("Logging to ./logs", *(BOX.format(i, 1 / (i + 1)) for i in range(14)))
    log = read(written(tmp_path, "log.txt", text))
    assert [value for _, value in curve(log, "loss")][:2] == [1.0, 0.5]
    assert log.kind == REWARDS


def test_numbers_alone_in_a_file_named_after_a_loss(tmp_path):
    numbers = [f"{2 / (1 + i):.4f}" for i in range(15)]
    listed = read(written(tmp_path, "loss.txt", "[" + ", ".join(numbers) + "]"))
    below = read(written(tmp_path, "a/train_loss.log", lines(*numbers)))
    assert curve(listed, "loss") == curve(below, "loss")
    with pytest.raises(DataError, match="names a loss"):
        read(written(tmp_path, "seconds.txt", lines(*numbers)))


def test_a_sentence_tells_a_loss(tmp_path):
    rows = [f"Epoch {i}, Step 5, time 7.1 (s), avg loss so far is {2 / (1 + i)}" for i in range(4)]
    log = read(written(tmp_path, "train.log", lines(*rows)))
    assert [value for _, value in curve(log, "loss")] == [2 / (1 + i) for i in range(4)]


def test_steps_of_epochs_with_an_evaluation_between(tmp_path):
    rows = []
    for epoch in range(3):
        rows.append(f"Starting epoch {epoch} current lr is 0.001")
        rows += [f"Epoch {epoch}, Step {step}, loss is {1 / step}" for step in (25, 50, 75)]
        rows.append(f"Epoch {epoch}, val loss is 0.5")
    log = read(written(tmp_path, "train.log", lines(*rows)))
    assert len(log.series["loss"]) == 9
    assert not any("order" in note or "anew" in note for note in log.notes)


def test_a_counter_of_the_head_does_not_stay(tmp_path):
    rows = []
    for epoch in (352, 353, 354):
        rows += [f"Epoch: [{epoch}/520] Iter:[{at}/30], Loss: 1.{at}" for at in (0, 10, 20)]
        rows.append("Loss: 0.9, MeanIU: 0.5")
    log = read(written(tmp_path, "train.log", lines("resumed at epoch 352", *rows)))
    assert not any("back" in note or "order" in note for note in log.notes)


def test_how_many_epochs_are_planned_is_no_counter(tmp_path):
    rows = []
    for epoch in range(3):
        rows += [f"Epoch {epoch} | Step {at}/30 | Loss: {9 - epoch}" for at in (0, 10, 20)]
        rows.append(f"Epoch {epoch} completed in 4s | Avg Loss: 0.6")
    text = lines("  epochs: 3", "  max_grad_norm: 1.0", "Training batches: 30", *rows)
    log = read(written(tmp_path, "train.log", text))
    assert [value for _, value in curve(log, "loss")] == [9, 9, 9, 8, 8, 8, 7, 7, 7]


def test_levels_of_messages_are_no_part_of_a_line(tmp_path):
    rows = [f"INFO:__main__:step {i} loss {2 / i:.3f}" for i in range(1, 5)]
    text = lines(*rows, "INFO:__main__:Evaluation Results:", "INFO:__main__:   Loss: 0.7")
    log = read(written(tmp_path, "train.log", text))
    assert curve(log, "validation_loss" if "validation_loss" in log.series else "loss")
    assert len(log.series["loss"]) == 4


def test_a_short_try_after_a_long_run_is_not_what_is_read(tmp_path):
    rows = [f"Saved at epoch {i} with loss: {2 / i:.3f}" for i in [*range(1, 31), 1, 2]]
    log = read(written(tmp_path, "loss_log2.txt", lines(*rows)))
    assert len(log.series["loss"]) == 30
    assert "2 runs, of which number 1 is read" in log.notes[0]


def test_of_a_loss_by_steps_and_by_epochs_the_finer_is_read(tmp_path):
    header = "epoch,step,train_loss_epoch,train_loss_step,data_loss_step\n"
    rows = [
        f"{i},{7 * i},{2 / (1 + i)},{9 if i % 7 == 0 else ''},{9 if i % 7 == 0 else ''}"
        for i in range(30)
    ]
    log = read(written(tmp_path, "metrics.csv", header + lines(*rows)))
    assert log.series["loss"].name == "train_loss_epoch"


def test_scores_of_a_game_are_no_runs(tmp_path):
    header = "Episode,Avg_Reward_100,Total_Timesteps\n"
    rows = [f"{100 * i},{i / 10},{3000 * i}" for i in range(1, 30)]
    with pytest.raises(DataError, match="none of its columns names a loss"):
        read(written(tmp_path, "training_log.csv", header + lines(*rows)))


def test_a_term_that_is_switched_on_later_is_no_part_of_the_sum(tmp_path):
    rows = [f"{i},{2 / (1 + i)},{0.0 if i < 20 else 5.0}" for i in range(40)]
    log = read(written(tmp_path, "log.csv", "step,recon_loss,perc_loss\n" + lines(*rows)))
    assert log.series["loss"].name == "recon_loss"


def test_parts_beside_a_loss_are_known(tmp_path):
    rows = [f"step {i}, Loss: {11 - i}, Semantic loss: {3 - i / 9}, IC loss: 7" for i in range(5)]
    log = read(written(tmp_path, "train.log", lines("num_classes: 11", *rows)))
    assert [value for _, value in curve(log, "loss")] == [11, 10, 9, 8, 7]
    assert set(log.parts) == {"semantic loss", "ic loss"}


@pytest.mark.parametrize("line", ["training done: Early Stop!", "Early stopping at epoch 9"])
def test_who_stops_early_is_not_cut_short(tmp_path, line):
    rows = [f"Step {50 * i}/100000; xent: {3 / i:.2f}" for i in range(1, 20)]
    plan = read(written(tmp_path, "a.log", lines(*rows)))
    done = read(written(tmp_path, "b.log", lines(*rows, line)))
    assert [f.code for f in diagnose(plan).findings] == ["TW403"]
    assert [f.code for f in diagnose(done).findings] == []


def test_an_adapter_beside_a_log(tmp_path):
    written(tmp_path, "adapter_config.json", '{"peft_type": "LORA", "r": 8, "bias": "none"}')
    log = read(written(tmp_path, "log.csv", "step,loss\n" + lines("0,2.5", "1,2.4")))
    assert log.settings["adapter"] == "lora"


def test_what_is_left_of_a_bar_that_was_written_over_is_old(tmp_path):
    bar = "Epoch 0:   1%|##          | {0}/200 [00:06<00:10, 4.31it/s, loss={1}]"
    rows = [bar.format(i, 9 - i / 10) for i in range(1, 20)] + [bar.format(20, "nan.0")]
    old = "   [nan, nan]],          | 3/200 [00:06<00:10, 4.31it/s, loss=8.70]tensor(["
    log = read(written(tmp_path, "output.log", lines(*rows, old, old)))
    assert log.series["loss"].steps[-1] == 20
    assert str(log.series["loss"].values[-1]) == "nan"


def test_settings_and_records_are_no_measures(tmp_path):
    header = "step,loss,max_grad_norm,grad_acc_steps,best_acc,iou_threshold\n"
    log = read(written(tmp_path, "log.csv", header + lines("0,2,1,4,0.5,0.7", "1,1,1,4,0.5,0.7")))
    assert set(log.series) == {"loss"}


def test_cost_of_time_is_no_loss(tmp_path):
    rows = [f"[Epoch {i}] speed: 4028 samples/sec time cost: {325 + i}" for i in range(14)]
    with pytest.raises(DataError, match="names a loss"):
        read(written(tmp_path, "log.txt", lines(*rows)))
