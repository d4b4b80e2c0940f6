"""The callbacks in the real packages: they change nothing, see what is wrong, and leave nothing."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import thalweg
from adapter_kit import PACKAGES, TOOLS, Net, Tool, net, num_hooks, points
from thalweg.cli.main import main
from thalweg.errors import UsageError
from thalweg.record import read
from thalweg.state.folder import Folder


@pytest.fixture(params=TOOLS)
def tool(request, tmp_path):
    pytest.importorskip(PACKAGES[request.param], reason="it comes with an extra of its own")
    return Tool(request.param, tmp_path)


def equal(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def epochs(tool: Tool, count: int) -> dict[str, Any]:
    return {"max_epochs" if tool.name == "lightning" else "num_train_epochs": count}


def accumulating(tool: Tool, count: int) -> dict[str, Any]:
    name = "accumulate_grad_batches" if tool.name == "lightning" else "gradient_accumulation_steps"
    return {name: count}


# ------------------------------------------------------------ nothing is changed, nothing is left


@pytest.mark.parametrize("guard", ["advise", "act", "off"])
def test_training_is_the_same_to_the_bit(tool, guard):
    plain = tool.train(None)
    watched = tool.train(tool.watch(guard=guard))
    assert equal(plain.weights, watched.weights)
    assert torch.equal(plain.state, watched.state)
    assert num_hooks(watched.model, watched.optimizer) == num_hooks(plain.model, plain.optimizer)


def test_a_healthy_run_is_silent(tool):
    trained = tool.train(tool.watch(), rate=0.02, rows=tool.rows(*points(256)))
    slow = "TW404"  # steps that became slow: on a busy machine they do
    assert trained.codes <= {slow}
    assert trained.callback.verdict.healthy
    lines = [line for line in tool.lines if f": {slow}" not in line]
    assert len(lines) == 2
    assert lines[0].startswith("monitor: 160 steps, looking took")
    assert lines[1] == str(trained.callback.verdict)


def test_nothing_is_left_behind_when_the_training_fails(tool):
    model, callback = net(), tool.watch()
    with pytest.raises(KeyError):
        tool.train(callback, model=model, rows=tool.rows(*points(), fails=7))
    assert num_hooks(model, torch.optim.SGD(model.parameters())) == 0
    assert read(tool.folder / "run").settings["batch_size"] == 8
    assert tool.lines[-1] == str(callback.verdict)


def test_methods_of_the_trainer_are_put_back(tmp_path):
    pytest.importorskip("transformers", reason="it comes with an extra of its own")
    tool = Tool("huggingface", tmp_path)
    trainer = tool.train(tool.watch()).trainer
    assert {"compute_loss", "training_step"}.isdisjoint(vars(trainer))
    assert "clip_grad_norm_" not in vars(trainer.accelerator)


# ------------------------------------------------------------ what is wrong is said


def test_a_softmax_before_the_loss_is_named(tool):
    trained = tool.train(tool.watch(None), model=net(softmax=True))
    assert trained.callback.findings[0].code == "TW305"
    assert any("TW305" in line for line in tool.lines)
    assert trained.callback.verdict.healthy is False


def test_a_layer_that_no_optimizer_holds_is_named(tool):
    trained = tool.train(tool.watch(None), parts=lambda model: model.inside.two.parameters())
    assert trained.callback.findings[0].code == "TW307"
    assert "inside.one" in str(trained.callback.verdict)


@pytest.mark.parametrize("guard", ["advise", "act"])
def test_a_step_that_is_not_finite_is_not_applied(tool, guard):
    trained = tool.train(tool.watch(guard=guard), rows=tool.rows(*points(bad=5)))
    assert all(weight.isfinite().all() for weight in trained.weights)
    assert "TW001" in trained.codes
    history = read(tool.folder / "run")
    losses = history.steps["loss"].data
    assert (losses != losses).sum() == 5, "once an epoch, and no filter has hidden it"
    assert len(losses) == 40
    assert {event.kind for event in history.events} == {"nonfinite"}
    assert sum("was nan at step" in line for line in tool.lines) >= 1


def test_without_the_guard_it_is_applied(tool):
    trained = tool.train(tool.watch(guard="off"), rows=tool.rows(*points(bad=5)))
    assert not all(weight.isfinite().all() for weight in trained.weights)


def test_a_step_that_is_not_finite_moves_nothing(tool):
    model = net()
    before = [p.detach().clone() for p in model.parameters()]
    rows = tool.rows(torch.full((8, 8), float("nan")), torch.zeros(8, dtype=torch.long))
    trained = tool.train(tool.watch(), model=model, rows=rows, **epochs(tool, 1))
    assert equal(before, [p.detach() for p in model.parameters()])
    assert not trained.optimizer.state, "the moments have not begun"


def test_a_rate_far_too_high_is_named_in_the_words_of_the_tool(tool):
    trained = tool.train(tool.watch(None), rate=50.0)
    (finding,) = [each for each in trained.callback.findings if each.code == "TW101"]
    word = "lr=5 in configure_optimizers" if tool.name == "lightning" else "learning_rate=5"
    assert word in finding.advice


def test_an_alert_is_given(tool):
    place = tool.folder / "alerts.json"
    tool.train(tool.watch(None, alert=f"cat >> '{place}'"), model=net(softmax=True))
    assert '"TW305"' in place.read_text()


# ------------------------------------------------------------ the record


def test_the_record_is_a_run_that_the_commands_read(tool, capsys):
    held = {"eval_strategy": "epoch"} if tool.name == "huggingface" else {}
    rows = tool.rows(*points(256))
    tool.train(tool.watch(), rate=0.02, rows=rows, held=tool.rows(*points(16)), **held)
    run = str(tool.folder / "run")
    capsys.readouterr()
    assert main(["diagnose", run, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["source"]["tool"] == tool.name
    assert said["source"]["settings"]["batch_size"] == 8
    assert said["source"]["settings"]["clip"] == 1.0
    assert said["source"]["settings"]["steps"] == 160
    assert {"loss", "lr", "gradient_norm", "validation_loss"} <= set(said["source"]["columns"])

    assert main(["report", run]) == 0
    assert (tool.folder / "run" / "report.html").is_file()
    evaluations = read(tool.folder / "run").evaluations
    assert [row.number for row in evaluations] == [32, 64, 96, 128, 160]
    verdict = json.loads((tool.folder / "run" / "verdict.json").read_text())
    assert verdict["healthy"] is True


def test_steps_of_several_batches_are_counted_as_one(tool):
    each = tool.train(tool.watch("each"), rows=tool.rows(*points(60)), **accumulating(tool, 3))
    history = read(tool.folder / "each")
    assert list(history.steps["number"].data) == list(range(1, len(history.steps["number"]) + 1))
    assert len(history.steps["number"]) == 15, "8 batches of an epoch make 3 steps"
    losses = history.steps["loss"].data
    assert ((losses > 0.7) & (losses < 1.8)).all(), "means, also of the two batches at the end"
    assert "TW308" not in each.codes


def test_the_gradient_is_told_as_it_was_before_clipping(tool):
    name = "gradient_clip_val" if tool.name == "lightning" else "max_grad_norm"
    trained = tool.train(tool.watch(), **{name: 1e-3})
    assert read(tool.folder / "run").steps["gradient_norm"].data.min() > 1e-2
    assert "TW001" not in trained.codes


def test_a_folder_that_is_taken_is_refused_before_a_step(tool):
    tool.train(tool.watch(), **epochs(tool, 1))
    with pytest.raises(UsageError, match="exists already"):
        tool.train(tool.watch(), **epochs(tool, 1))


def test_a_resume_goes_on_with_the_record_huggingface(tmp_path):
    pytest.importorskip("transformers", reason="it comes with an extra of its own")
    tool = Tool("huggingface", tmp_path)
    saving = {"save_strategy": "epoch", "num_train_epochs": 4}
    tool.train(tool.watch(), **saving)
    resumed = tool.train(tool.watch(), **saving, resume=str(tmp_path / "out" / "checkpoint-16"))
    gone_on(tool, resumed)


def test_a_resume_goes_on_with_the_record_lightning(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason="it comes with an extra of its own")
    tool = Tool("lightning", tmp_path)
    saver = lightning.callbacks.ModelCheckpoint(
        dirpath=tmp_path, save_top_k=-1, filename="{step}", every_n_epochs=1
    )
    saving = {"max_epochs": 4, "enable_checkpointing": True, "others": [saver]}
    tool.train(tool.watch(), **saving)
    saving["others"] = []
    resumed = tool.train(tool.watch(), **saving, resume=str(tmp_path / "step=16.ckpt"))
    gone_on(tool, resumed)


def gone_on(tool: Tool, resumed: Any) -> None:
    history = read(tool.folder / "run")
    assert [attempt.from_step for attempt in history.attempts] == [0, 16]
    assert Folder(tool.folder / "run").is_finished
    assert list(history.steps["number"].data) == list(range(1, 33))
    assert all(each.since_step <= 32 for each in resumed.callback.findings)


# ------------------------------------------------------------ what one package alone can do


def words_of() -> tuple[Any, list[Any]]:
    """A language model of Hugging Face's, and rows for it."""
    transformers = pytest.importorskip("transformers", reason="it comes with an extra of its own")
    config = transformers.GPT2Config(
        n_layer=1, n_head=2, n_embd=16, vocab_size=11, n_positions=8, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(1)
    words = torch.randint(11, (64, 8), generator=torch.Generator().manual_seed(3))
    rows = [{"input_ids": row, "labels": row} for row in words]
    return transformers.GPT2LMHeadModel(config), rows


def tenfold(outputs, labels, num_items_in_batch=None):
    """A loss of one's own."""
    logits = outputs["logits"].flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(logits, labels.flatten(), reduction="sum")
    return 10 * loss / num_items_in_batch


OWN_LOSSES: dict[str, dict[str, Any]] = {
    "the model's": {},
    "smoothed": {"label_smoothing_factor": 0.1},
    "one's own": {"loss": tenfold},
}


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("kind", OWN_LOSSES)
def test_the_loss_is_the_one_that_is_trained_on(tmp_path, kind, count):
    model, rows = words_of()
    tool = Tool("huggingface", tmp_path)
    asked = {"gradient_accumulation_steps": count, "num_train_epochs": 1, "logging_steps": 1}
    trained = tool.train(tool.watch(), model=model, rows=rows, **asked, **OWN_LOSSES[kind])
    told = [row["loss"] for row in trained.trainer.state.log_history if "loss" in row]
    losses = read(tmp_path / "run").steps["loss"].data
    assert list(losses) == pytest.approx(told, rel=1e-3)
    assert len(told) == 8 // count
    assert (losses.min() > 10) == (kind == "one's own")
    assert {"TW305", "TW307", "TW308"}.isdisjoint(trained.codes)


# ------------------------------------------------------------ settings


def test_a_guard_that_there_is_not_is_refused(tool):
    with pytest.raises(UsageError, match="guard is 'always'"):
        tool.watch(guard="always")


@pytest.mark.parametrize("name", TOOLS)
def test_without_the_package_the_error_names_the_extra(name):
    if find_spec(PACKAGES[name]) is not None:
        pytest.skip("it is installed here")
    with pytest.raises(UsageError, match="pip install 'thalweg"):
        getattr(thalweg, TOOLS[name][1])("runs/mine")


def test_only_the_first_process_writes(tmp_path):
    from thalweg.adapters.session import Loop, Session, Wanted

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lines: list[str] = []
    wanted = Wanted.of(tmp_path / "run", "act", None, lines.append)
    loop = Loop(
        model=model, optimizers=[optimizer], tool="lightning", settings={}, rank=1, num_processes=2
    )
    session = Session(wanted, loop)
    x, y = points(8, bad=3)
    torch.nn.functional.cross_entropy(model(x), y).backward()
    session.before_step()
    optimizer.step()
    session.after_step()
    assert all(p.isfinite().all() for p in model.parameters()), "every process leaves it out"
    assert session.close().state == "unknown"
    assert not (tmp_path / "run").exists()
    assert lines == []
    assert num_hooks(model, optimizer) == 0


def test_lines_stand_above_a_progress_bar(capsys):
    tqdm = pytest.importorskip("tqdm", reason="it comes with the packages of the extras")
    from thalweg.adapters.session import say

    with tqdm.tqdm(total=3, ascii=True) as bar:
        bar.update()
        say("a line")
        bar.update()
    shown = capsys.readouterr().err
    assert "\rthalweg: a line\n" in shown
    assert shown.count("thalweg") == 1


def test_a_record_that_cannot_be_written_ends_no_training(tool):
    callback = tool.watch()
    place = tool.folder / "run"

    class Vanishing(tool.rows):
        def __getitem__(self, i):
            if i == 3 and place.exists():
                shutil.rmtree(place)
            return super().__getitem__(i)

    trained = tool.train(callback, rows=Vanishing(*points()))
    assert any("could not be written" in line for line in tool.lines)
    assert not (place / "run.manifest").exists(), "rows were lost"
    assert num_hooks(trained.model, trained.optimizer) <= 1


class Breaking:
    """Rows that, once so many were read, break the model that reads them."""

    def __init__(self, rows, model, after):
        self.rows, self.model, self.left = rows, model, after

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        self.left -= 1
        if self.left == 0:
            with torch.no_grad():
                self.model.two.weight *= -300
        return self.rows[i]


def test_weights_that_broke_are_rolled_back_in_act(tool):
    model = net()
    rows = Breaking(tool.rows(*points(512)), model, after=8 * 130)
    trained = tool.train(tool.watch(guard="act"), model=model, rows=rows, rate=0.02)
    history = read(tool.folder / "run")
    assert "rollback" in {event.kind for event in history.events}
    assert any(line.startswith("rolled back to the weights of step 100") for line in tool.lines)
    assert history.steps["loss"].data[-20:].mean() < 0.6
    assert all(weight.isfinite().all() for weight in trained.weights)
