"""Tables: columns told by their names, blank cells, runs side by side, the order of the rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foreign_kit import curve, falling, read, read_all, written
from thalweg.errors import DataError
from thalweg.record.foreign.log import REWARDS
from thalweg.record.foreign.roles import metric_of, roles_of

LOSSES = """loss Train/Loss loss/train train/total_loss lm_loss train|loss nll training_loss
cross_entropy objective trainLoss Loss_train train/ctc_loss lm-loss-training/lm|loss batch_loss
train_loss_step loss_ce loss_avg"""
HELD = """eval/nll val_ce_loss validation/ctc_loss val_loss valid_loss eval_loss Loss/val dev.loss
val/loss_epoch Validation|Loss valLoss eval/cross_entropy"""
RATES = "lr learning_rate lr-Adam lr-AdamW/pg1 optimizer/lr/0 Learning|Rate lr/pg0"
NORMS = "grad_norm gnorm gradient_norm grad/total grad|norm grad_2.0_norm_total"
NONE = """test_loss best_loss min_val_loss loss_weight num_losses lr_scale grad_norm/layer1
weight_norm lr_decay time gpu_mem eta accuracy epoch"""
ROLES = {"loss": LOSSES, "validation_loss": HELD, "lr": RATES, "gradient_norm": NORMS}


@pytest.mark.parametrize(
    ("name", "role"), [(name, role) for role, names in ROLES.items() for name in names.split()]
)
def test_a_name_tells_its_part(name, role):
    name = name.replace("|", " ")
    assert roles_of({name: 9}) == {role: name}


@pytest.mark.parametrize("name", NONE.split())
def test_these_names_tell_none(name):
    assert roles_of({name: 9}) == {}


METRICS = {
    "val_acc": ("validation", "accuracy"),
    "train/accuracy": ("train", "accuracy"),
    "Acc@1": ("train", "accuracy"),
    "eval_f1": ("validation", "f1"),
    "val_balanced_accuracy": ("validation", "balanced_accuracy"),
    "test/wer": ("test", "wer"),
    "validation/mean_average_precision": ("validation", "average_precision"),
    "metrics/mAP50(B)": ("validation", "map"),
    "val_perplexity": ("validation", "perplexity"),
    "val_bpb": ("validation", "bpb"),
    "val_loss": None,
    "loss": None,
    "eval_runtime": None,
    "samples_per_second": None,
}


@pytest.mark.parametrize(("name", "known"), METRICS.items())
def test_metrics(name, known):
    assert metric_of(name) == known


@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
def test_what_stands_between_cells_is_seen(tmp_path, mark):
    log = read(written(tmp_path, "log.csv", falling().replace(",", mark)))
    assert curve(log, "loss")[:2] == [(0, 2), (1, 1)]


def test_a_comma_is_a_point_where_semicolons_part(tmp_path):
    log = read(written(tmp_path, "log.csv", "step;loss\n1;0,5\n2;0,25\n"))
    assert curve(log, "loss") == [(1, 0.5), (2, 0.25)]


def test_padded_headers_and_losses_in_parts_are_added_up(tmp_path):
    header = "                  epoch,                   time,         train/box_loss,"
    header += "         train/cls_loss,           val/box_loss,           val/cls_loss, lr/pg0"
    rows = [f"{i:23d}, {6.5 * i}, {1 / i}, {2 / i}, {3 / i}, {4 / i}, 0.01" for i in range(1, 6)]
    log = read(written(tmp_path, "results.csv", "\n".join([header, *rows])))
    assert curve(log, "loss")[0] == (1, 3)
    assert curve(log, "validation_loss")[0] == (1, 7)
    assert log.series["loss"].name == "train/box_loss + train/cls_loss"
    assert curve(log, "seconds")[0] == (2, 6.5)
    assert log.unit == "epoch"


def test_losses_that_do_not_add_up_are_not_added(tmp_path):
    log = read(written(tmp_path, "gan.csv", falling(header="step,d_loss,g_loss")))
    assert log.series["loss"].name in ("d_loss", "g_loss")


def test_one_of_several_evaluations_is_read_and_said(tmp_path):
    log = read(written(tmp_path, "log.csv", falling(header="step,loss,eval_en_loss,eval_de_loss")))
    assert log.series["validation_loss"].name == "eval_en_loss"
    assert any("2 columns are losses of evaluations" in note for note in log.notes)


def test_columns_that_a_user_names(tmp_path):
    path = written(tmp_path, "log.csv", falling(header="i,zeta,held,loss,rate"))
    log = read(path, loss="Zeta", validation="held", step="i", lr="rate")
    names = {role: series.name for role, series in log.series.items()}
    assert names == {"loss": "zeta", "validation_loss": "held", "lr": "rate"}


def test_a_perplexity_stands_in_for_a_loss(tmp_path):
    log = read(written(tmp_path, "log.csv", "step,ppl,val_ppl\n1,100,120\n2,50,60\n"))
    np.testing.assert_allclose(log.series["loss"].values, np.log([100, 50]))
    np.testing.assert_allclose(log.series["validation_loss"].values, np.log([120, 60]))
    assert any("logarithm of 'ppl'" in note for note in log.notes)


def test_a_perplexity_beside_a_loss_is_a_metric(tmp_path):
    log = read(written(tmp_path, "log.csv", "step,loss,ppl\n1,4.6,100\n2,3.9,50\n"))
    assert log.series["train_perplexity"].values[0] == 100


def test_bits_beside_nats_are_no_validation_loss(tmp_path):
    log = read(written(tmp_path, "log.csv", falling(header="step,loss,val_bpb")))
    assert set(log.series) == {"loss", "validation_bpb"}


def test_a_training_loss_of_evaluations_stands_beside_that_of_the_steps(tmp_path):
    rows = [f"{i},{1 / i},," if i % 5 else f"{i},{1 / i},{2 / i},{3 / i}" for i in range(1, 41)]
    text = "\n".join(["step,loss,train/loss,validation/loss", *rows])
    log = read(written(tmp_path, "log.csv", text))
    names = {role: log.series[role].name for role in log.series}
    assert names == {
        "loss": "loss",
        "train_loss": "train/loss",
        "validation_loss": "validation/loss",
    }


def test_norms_of_parameters_and_of_gradients_are_told_apart(tmp_path):
    log = read(written(tmp_path, "log.csv", falling(header="step,loss,params norm,grad norm")))
    assert log.series["parameter_norm"].name == "params norm"
    assert log.series["gradient_norm"].name == "grad norm"


BLANK = "step,loss,grad_norm,lr\n1,2.0,1.0,0.1\n2,1.5,1.0,0.1\n3,,,0.1\n4,,,0.1\n"
SPARSE = "step,loss,val_loss\n1,2.0,\n2,1.5,1.9\n3,1.2,\n4,1.1,\n5,1.0,\n"


def test_a_loss_that_goes_blank_while_the_rest_goes_on_was_nan(tmp_path):
    log = read(written(tmp_path, "log.csv", BLANK))
    assert log.series["loss"].steps.tolist() == [1, 2, 3, 4]
    assert np.isnan(log.series["loss"].values[2:]).all()
    assert any("blank in the last 2 rows" in note for note in log.notes)


def test_an_evaluation_now_and_then_is_not_blank(tmp_path):
    log = read(written(tmp_path, "log.csv", SPARSE))
    assert curve(log, "validation_loss") == [(2, 1.9)]


def test_a_last_row_that_sums_up_is_not_blank(tmp_path):
    rows = [f"{i},{1 / i},{1 / i},{i},{i}" for i in range(1, 9)]
    text = "\n".join(["step,loss,val_loss,duration,score", *rows, "9,,,,8"])
    assert np.isfinite(
        read(written(tmp_path, "log.csv", text)).series["val_loss" and "loss"].values
    ).all()


def test_null_in_json_lines_is_blank_and_nan_is_nan(tmp_path):
    rows = [{"step": 1, "loss": 2.0, "lr": 1}, {"step": 2, "loss": float("nan"), "lr": 1}]
    rows += [{"step": 3, "loss": None, "lr": 1}]
    log = read(written(tmp_path, "log.jsonl", "\n".join(map(json.dumps, rows))))
    assert log.format == "jsonl"
    assert np.isnan(log.series["loss"].values).tolist() == [False, True, True]


def test_nested_json_and_numbers_as_texts(tmp_path):
    rows = [{"iter": i, "train": {"loss": str(1 / i)}, "valid": {"loss": 2 / i}} for i in (1, 2, 4)]
    log = read(written(tmp_path, "log.jsonl", "\n".join(map(json.dumps, rows))))
    assert curve(log, "loss")[-1] == (4, 0.25)
    assert curve(log, "validation_loss")[-1] == (4, 0.5)


def test_a_column_that_tells_the_set_of_each_row(tmp_path):
    rows = [
        f"{i},{part},{value / i}" for i in range(1, 6) for part, value in (("train", 1), ("val", 2))
    ]
    log = read(written(tmp_path, "log.csv", "\n".join(["epoch,phase,loss", *rows])))
    assert curve(log, "loss")[1] == (2, 0.5)
    assert curve(log, "validation_loss")[1] == (2, 1.0)
    lines = [{"mode": "train", "epoch": 1, "iter": i, "loss": 1 / i} for i in (50, 100)]
    lines += [{"mode": "val", "epoch": 1, "iter": 100, "acc": 0.5}, {"env": "x"}]
    log = read(written(tmp_path, "log.json", "\n".join(map(json.dumps, lines))))
    assert set(log.series) == {"loss", "validation_accuracy"}


WIDE = {
    "alike but for numbers": ",".join(f"n_layers_{i}" for i in (1, 2, 2, 3)),
    "unknown names after a step": "step,sgd,adam,lion,muon",
    "settings as names": "step,lr=0.1,lr=0.01,lr=0.001,lr=1",
    "a web page's export": "Step,a - loss,a - loss__MIN,b - loss,b - loss__MAX",
}


@pytest.mark.parametrize("header", WIDE.values(), ids=WIDE)
def test_one_run_in_each_column(tmp_path, header):
    rows = [",".join(str(i + k / 10) for k in range(header.count(",") + 1)) for i in range(12)]
    logs = read_all(written(tmp_path, "wide.csv", "\n".join([header, *rows])))
    assert len(logs) == (2 if "MIN" in header else 4)
    assert all(len(log.series["loss"]) == 12 for log in logs)
    assert len({log.source for log in logs}) == len(logs)


def test_a_run_that_ended_early_in_a_wide_table_is_short(tmp_path):
    rows = [f"{i},{1 / i},{1 / i if i < 9 else ''}" for i in range(1, 13)]
    logs = read_all(written(tmp_path, "wide.csv", "\n".join(["step,run_1,run_2", *rows])))
    assert [len(log.series["loss"]) for log in logs] == [12, 8]


def test_an_export_of_one_tag_has_its_name_in_the_files(tmp_path):
    rows = [f"{1.7e9 + i},{10 * i},{1 / (1 + i)}" for i in range(5)]
    text = "\n".join(["Wall time,Step,Value", *rows])
    log = read(written(tmp_path, "run-a-tag-loss_train.csv", text))
    assert curve(log, "loss")[1] == (10, 0.5)
    np.testing.assert_allclose(log.series["seconds"].values, 0.1)
    with pytest.raises(DataError, match="names a loss"):
        read(written(tmp_path, "run-a-tag-accuracy.csv", text))


def test_any_table_of_numbers_is_no_log(tmp_path):
    rows = [f"{i},{i},{i},cat" for i in range(20)]
    with pytest.raises(DataError, match="names a loss"):
        read(written(tmp_path, "iris.csv", "\n".join(["a,b,c,species", *rows])))


def test_a_resumed_run_keeps_what_was_written_last(tmp_path):
    steps = [*range(0, 60, 10), *range(30, 80, 10)]
    rows = [f"{step},{i}" for i, step in enumerate(steps)]
    log = read(written(tmp_path, "log.csv", "\n".join(["step,loss", *rows])))
    assert curve(log, "loss") == [
        (0, 0),
        (10, 1),
        (20, 2),
        *((30 + 10 * k, 6 + k) for k in range(5)),
    ]
    assert any("go back from 50 to 30" in note and "resumed" in note for note in log.notes)


def test_a_later_attempt_that_died_earlier_ends_the_curve(tmp_path):
    steps = [0, 10, 20, 30, 40, 20, 30]
    rows = [f"{step},{i}" for i, step in enumerate(steps)]
    log = read(written(tmp_path, "log.csv", "\n".join(["step,loss", *rows])))
    assert curve(log, "loss") == [(0, 0), (10, 1), (20, 5), (30, 6)]


def test_rows_in_no_order_are_sorted_and_said_to_be(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{step},{step}" for step in rng.permutation(100)]
    log = read(written(tmp_path, "log.csv", "\n".join(["step,loss", *rows])))
    assert curve(log, "loss") == [(i, i) for i in range(100)]
    assert any("are in no order" in note for note in log.notes)


def test_of_runs_that_were_appended_the_longest_is_read(tmp_path):
    runs = [range(1, 6), range(1, 31), range(1, 4), range(1, 9), range(1, 6), range(1, 3)]
    rows = [(run, epoch) for run, epochs in enumerate(runs) for epoch in epochs]
    text = "epoch,loss,seconds\n" + "\n".join(
        f"{epoch},{run + 1 / epoch},{run + 1}" for run, epoch in rows
    )
    log = read(written(tmp_path, "log.csv", text))
    assert len(log.series["loss"]) == 30
    assert log.series["loss"].values[-1] == pytest.approx(1 + 1 / 30)
    assert any("number 2 is read" in note for note in log.notes)


def test_times_of_rows_in_no_order_are_not_a_steps(tmp_path):
    rows = [f"{step},{1 / (step + 1)},{step + 1}" for step in (5, 1, 4, 2, 9, 3, 8, 7, 6, 0) * 3]
    log = read(written(tmp_path, "log.csv", "step,loss,seconds\n" + "\n".join(rows)))
    assert "seconds" not in log.series


def test_what_a_policy_earns_is_read_and_a_choice_between_answers_is_no_policy(tmp_path):
    rows = "\n".join(f"{step},{0.1 * step},{step}" for step in range(20))
    earned = read(written(tmp_path, "a.csv", f"step,loss,episode_reward\n{rows}"))
    chosen = read(written(tmp_path, "b.csv", f"step,loss,rewards/chosen\n{rows}"))
    assert (earned.kind, chosen.kind) == (REWARDS, "")


def test_of_a_step_that_stands_twice_the_last_value_is_read(tmp_path):
    log = read(written(tmp_path, "log.csv", "step,loss\n1,5\n1,4\n2,3\n"))
    assert curve(log, "loss") == [(1, 4), (2, 3)]


def test_a_header_that_stands_again_is_left_out(tmp_path):
    log = read(written(tmp_path, "log.csv", falling(5) + falling(3)))
    assert len(log.series["loss"]) == 3
    assert any("begin anew: 2 runs, of which number 2" in note for note in log.notes)


def test_steps_of_an_epoch_are_counted_through(tmp_path):
    rows = [f"{e},{b},{10 - e - b / 10}" for e in range(3) for b in range(5)]
    log = read(written(tmp_path, "log.csv", "\n".join(["epoch,batch,loss", *rows])))
    assert (np.diff(log.series["loss"].steps) > 0).all()
    assert len(log.series["loss"]) == 15


def test_many_rows_to_an_epoch_are_counted_as_rows(tmp_path):
    rows = [f"{i // 10},{2 / (1 + i)}" for i in range(50)]
    log = read(written(tmp_path, "log.csv", "\n".join(["epoch,loss", *rows])))
    assert (log.unit, len(log.series["loss"])) == ("row", 50)
    assert any("the lines are counted" in note for note in log.notes)


TIMES = {
    "a clock": ("wall_time", lambda i: 1e9 + 0.5 * i),
    "milliseconds since 1970": ("timestamp", lambda i: 1.7e12 + 500 * i),
    "a date": ("timestamp", lambda i: f"2026-01-02 03:04:{i / 2:06.3f}"),
    "what has passed": ("time", lambda i: 0.5 * i),
    "of each step": ("step_time", lambda i: 0.5),
    "of each step, in ms": ("iter_time_ms", lambda i: 500),
    "a speed": ("train/steps_per_second", lambda i: 2),
}


@pytest.mark.parametrize(("name", "clock"), TIMES.values(), ids=TIMES)
def test_seconds_a_step(tmp_path, name, clock):
    rows = [f"{i},{1 / i},{clock(i)}" for i in range(1, 21)]
    log = read(written(tmp_path, "log.csv", "\n".join([f"step,loss,{name}", *rows])))
    np.testing.assert_allclose(log.series["seconds"].values, 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["eval_runtime", "data_time", "samples_per_second", "tok/sec", "eta"]
)
def test_these_times_are_not_a_steps(tmp_path, name):
    assert (
        "seconds"
        not in read(written(tmp_path, "log.csv", falling(header=f"step,loss,{name}"))).series
    )


def test_a_large_table_is_read_whole(tmp_path):
    rows = np.random.default_rng(0).random((200_000, 6)).round(6).astype(str)
    lines = [f"{i},{','.join(row)}" for i, row in enumerate(rows)]
    header = "step,train_loss,val_loss,lr,grad_norm,accuracy,time"
    path = written(tmp_path, "log.csv", "\n".join([header, *lines]))
    assert len(read(path).series["loss"]) == 200_000
