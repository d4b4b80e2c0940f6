"""The monitor: it changes nothing, ends nothing, leaves nothing behind, and keeps the columns."""

from __future__ import annotations

import copy
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import thalweg
from looked_at import adam, cross_entropy, deep, mlp, points, tokens
from sound_models import GPT, Block, conv, next_token
from thalweg.errors import UsageError
from thalweg.loop import later, modes
from thalweg.loop import monitor as monitors
from thalweg.loop.alerts import Alert
from thalweg.loop.cost import Cost
from thalweg.loop.modes import Modes
from thalweg.probes.probe import Probe
from thalweg.types import Finding, Verdict

# ------------------------------------------------------------ nothing is changed


def pictures():
    source = torch.Generator().manual_seed(4)
    for _ in range(30):
        x = torch.randn(8, 3, 8, 8, generator=source)
        yield x.to(memory_format=torch.channels_last), torch.randint(4, (8,), generator=source)


def of_words(model, x, y):
    return next_token(model(x), y)


WORK: dict[str, Any] = {
    "mlp": (lambda: mlp().insert(4, nn.Dropout(0.3)), cross_entropy, lambda: points(steps=30)),
    "batch norm": (lambda: deep(4, norm=nn.BatchNorm1d), cross_entropy, lambda: points(steps=30)),
    "language model": (GPT, of_words, lambda: tokens(steps=30)),
    "convolutions": (
        lambda: nn.Sequential(conv(3, 8), Block(8), nn.Flatten(), nn.Linear(512, 4)),
        cross_entropy,
        pictures,
    ),
    "compiled": (
        lambda: torch.compile(mlp(), backend="eager"),
        cross_entropy,
        lambda: points(steps=30),
    ),
}

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2),
    "thalweg's": lambda m: thalweg.AdamW(m.parameters(), lr=1e-2),
}


def trained(work: str, optimizer: str, *, share: float | None):
    """Final weights and the state of torch's generator. share: None is without a monitor"""
    make, loss_of, batches = WORK[work]
    torch.manual_seed(1)
    model = make()
    steps = OPTIMIZERS[optimizer](model)
    look = (lambda loss: None) if share is None else None
    context = thalweg.monitor(model, steps, tell=None, share=share or 0.0)
    if look is None:
        look = context.__enter__()
    for x, y in batches():
        steps.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        steps.step()
        look(loss)
    if share is not None:
        context.__exit__(None)
        assert context.fault == ""
    return [p.detach().clone() for p in model.parameters()], torch.get_rng_state()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("work", WORK)
def test_training_is_the_same_to_the_bit(work, optimizer):
    weights, state = trained(work, optimizer, share=None)
    looked_at, other = trained(work, optimizer, share=1.0)
    assert all(torch.equal(a, b) for a, b in zip(weights, looked_at, strict=True))
    assert torch.equal(state, other)


def run(model, *, steps=30, loss_of=cross_entropy, **settings):
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, **{"tell": None, **settings}) as monitor:
        for x, y in points(steps=steps):
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
    return monitor, optimizer


# ------------------------------------------------------------ nothing is left behind


def num_hooks(model, optimizer) -> int:
    modules = torch.nn.modules.module
    own = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    of_weights = sum(
        len(p._backward_hooks or ()) + len(p._post_accumulate_grad_hooks or ())
        for p in model.parameters()
    )
    of_steps = len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)
    return own + of_weights + of_steps + len(modules._global_forward_hooks)


def test_hooks_are_removed():
    model = mlp()
    monitor, optimizer = run(model)
    assert monitor.number == 30
    assert num_hooks(model, optimizer) == 0


def test_hooks_are_removed_when_the_training_fails():
    model = mlp()
    optimizer = adam(model)
    with pytest.raises(KeyError), thalweg.monitor(model, optimizer, tell=None):
        raise KeyError
    assert num_hooks(model, optimizer) == 0


def test_only_few_hooks_stay_on_after_the_first_steps():
    model = mlp()
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None, share=0.0) as monitor:
        for x, y in points():
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
        assert num_hooks(model, optimizer) == 2  # one waits for the first evaluation
        with torch.no_grad():
            model.eval()(x)
        model.train()
        for x, y in points():
            optimizer.zero_grad()
            cross_entropy(model, x, y).backward()
            optimizer.step()
        assert num_hooks(model, optimizer) == 1


def test_a_copy_and_a_saved_model_have_no_part_in_it():
    model = mlp()
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        average = copy.deepcopy(model)
        torch.save(model, io.BytesIO())
        average(torch.randn(4, 8)).sum().backward()
        assert not monitor._watch._gradients.has_arrived
    assert monitor.fault == ""


# ------------------------------------------------------------ nothing is ended


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (monitors, "structural"),
        (later, "units_later"),
        (modes, "num_rows"),
        (Probe, "before_step"),
        (Modes, "stepped_in_evaluation"),
    ],
)
def test_a_fault_inside_is_told_once_and_ends_nothing(monkeypatch, module, name):
    def broken(*args, **more):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(module, name, broken)
    told = []
    model = deep(2, norm=nn.BatchNorm1d)
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=told.append, share=1.0) as monitor:
        for x, y in points(steps=40):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            with torch.no_grad():
                model(x)
            monitor.evaluation(loss=1.0)
            model.train(monitor.number < 30)
    assert told[-1] == "the monitor stopped looking: ZeroDivisionError: planted"
    assert sum("planted" in text for text in told) == 1
    assert num_hooks(model, optimizer) == 0
    assert "planted" in monitor.verdict().not_checkable[0]


def test_a_loss_that_cannot_be_read_ends_nothing():
    model = mlp()
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None, share=0.0) as monitor:
        for x, y in points(steps=60):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss if monitor.number < 50 else loss.repeat(2))
    assert "RuntimeError" in monitor.fault
    assert len(monitor.log.series["loss"]) == 49


def test_a_tell_that_fails_ends_nothing():
    def tell(text):
        raise OSError("closed")

    monitor, _ = run(mlp(nn.Softmax(dim=1)), tell=tell)
    assert monitor.fault == "OSError: closed"


def test_gradients_per_sample():
    model = mlp()
    own = dict(model.named_parameters())

    def loss_of_one(parameters, x, y):
        found = torch.func.functional_call(model, parameters, (x[None],))
        return nn.functional.cross_entropy(found, y[None])

    def loss_of(model, x, y):
        slopes = torch.func.vmap(torch.func.grad(loss_of_one), in_dims=(None, 0, 0))(own, x, y)
        assert slopes["0.weight"].shape == (32, 32, 8)
        return cross_entropy(model, x, y)

    monitor, _ = run(model, loss_of=loss_of)
    assert monitor.fault == ""
    assert monitor.findings == []


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_traced_model():
    model = torch.jit.trace(mlp(), torch.randn(2, 8), check_trace=False)
    monitor, _ = run(model)
    assert monitor.number == 30


# ------------------------------------------------------------ columns


def test_the_columns():
    model = mlp()
    optimizer = adam(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
    losses = []
    with thalweg.monitor(model, optimizer, tell=None, share=1.0) as monitor:
        for x, y in points(steps=20):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            schedule.step()
            monitor(loss)
            losses.append(float(loss.detach()))
        monitor.evaluation(loss=0.5, accuracy=0.25)
    log = monitor.log
    assert log.series["loss"].values.tolist() == losses
    assert log.series["loss"].steps.tolist() == list(range(1, 21))
    assert log.series["lr"].values.tolist() == [1e-3] * 10 + [5e-4] * 10
    assert log.series["validation_loss"].values.tolist() == [0.5]
    assert log.series["validation_accuracy"].steps.tolist() == [20]
    assert len(log.series["seconds"]) == 20
    assert log.rows == 20
    known = {"optimizer": "adam", "lr": 1e-3, "weight_decay": 0, "num_classes": 4}
    assert log.settings == known
    assert 0 <= log.series["dead:2"].values[0] <= 1
    assert log.series["gradient_norm:0.weight"].values[0] > 0
    assert log.series["update_norm:0.weight"].values[0] > 0


@pytest.mark.parametrize("at", ["before", "after"])
def test_the_loss_of_an_accumulated_step_is_the_mean_of_its_batches(at):
    model = mlp()
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        for i in range(12):
            loss = torch.tensor(float(i // 3))
            if at == "before":
                monitor(loss)
            if i % 3 == 2:
                optimizer.step()
            if at == "after" and i % 3 == 2:
                monitor(loss)
    assert monitor.log.series["loss"].values.tolist() == [0, 1, 2, 3]
    assert monitor.log.series["loss"].steps.tolist() == [1, 2, 3, 4]


def test_numbers_are_taken_for_losses():
    monitor, _ = run(mlp(nn.Softmax(dim=1)))
    assert monitor.findings
    model = mlp(nn.Softmax(dim=1))
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        for x, y in points():
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss.item())
    assert monitor.findings == []
    assert monitor.verdict().not_checkable[0].startswith("whether loss and last layer")


# ------------------------------------------------------------ what it tells


def test_the_verdict():
    monitor, _ = run(mlp(nn.Softmax(dim=1)))
    verdict = monitor.verdict()
    assert verdict.healthy is False
    assert "softmax" in verdict.sentence
    sound, _ = run(mlp())
    assert sound.verdict().findings == ()


def test_the_curves_join_in(monkeypatch):
    found = Finding("TW101", "learning rate too high", "act", 7, 0.8, {}, "lower it")
    seen = []

    def diagnose(log):
        seen.append(log)
        return Verdict("diverging", "it grows", (found,), ("leakage",))

    monkeypatch.setattr(monitors, "diagnose", diagnose)
    monkeypatch.setattr(later, "so_far", diagnose)
    monitor, _ = run(mlp(), share=1.0)
    assert monitor.findings == [found]
    assert monitor.verdict().state == "diverging"
    assert monitor.verdict().not_checkable == ("leakage",)
    assert seen[0].series["loss"].name == "loss"
    assert monitor.verdict().sentence == "it grows"


def test_the_number_of_classes_is_read_from_the_loss():
    monitor, _ = run(mlp())
    assert monitor.log.settings["num_classes"] == 4

    def halved(model, x, y):
        return 0.5 * cross_entropy(model, x, y)

    monitor, _ = run(mlp(), loss_of=halved)
    assert "num_classes" not in monitor.log.settings
    assert not any("by thalweg.monitor" in each for each in monitor.verdict().not_checkable)


def test_evaluation_mode_left_on_later():
    model = mlp().insert(4, nn.Dropout(0.1))
    optimizer = adam(model)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        for i, (x, y) in enumerate(points(steps=20), start=1):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            if i == 10:
                model.eval()
    assert [(f.code, f.since_step) for f in monitor.findings] == [("TW306", 11)]


def test_units_that_die_later():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thalweg.monitor(model, optimizer, tell=None, share=1.0) as monitor:
        for i, (x, y) in enumerate(points(steps=200), start=1):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            if i == 10:
                nn.init.constant_(model[2].bias, -50.0)
    found = {f.code: f for f in monitor.findings}
    assert 10 < found["TW301"].since_step < 200


def test_what_is_said(capsys):
    run(mlp(nn.Softmax(dim=1)), tell=monitors.say)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "thalweg: step 1: TW305 loss and last layer that do not belong together"
    )
    assert "30 steps, looking took" in last


def test_its_own_cost_is_measured():
    monitor, _ = run(mlp(), steps=300)
    cost = monitor.overhead
    assert cost.num_steps == 297
    assert 0 < cost.share < 1
    assert 0 < cost.microseconds < 1e4
    assert cost.start > 0


@pytest.mark.parametrize(
    ("settings", "text"), [({"share": 2.0}, "share is 2.0"), ({"share": -1.0}, "share is -1.0")]
)
def test_settings_out_of_range(settings, text):
    with pytest.raises(UsageError, match=text):
        thalweg.monitor(mlp(), adam(mlp()), **settings)
    with pytest.raises(UsageError, match=r"torch\.optim\.Optimizer"):
        thalweg.monitor(mlp(), [])


def test_the_example_of_the_page_runs(capsys):
    page = (Path(__file__).parent.parent / "docs" / "monitor.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "monitor.md", "exec"), {})
    assert capsys.readouterr().out.startswith("finished: training loss went from")


# ------------------------------------------------------------ what it is handed


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ((None, "sgd"), "monitor's model is None: it must be a torch.nn.Module"),
        (("net", None), "monitor's optimizer is None: it must be a torch.optim.Optimizer"),
        (("net", []), "monitor's optimizer is empty"),
        (("net", "adam"), "monitor's optimizer is a str"),
        (("sgd", "net"), "monitor's model is a SGD"),
    ],
)
def test_what_is_no_model_or_optimizer_is_refused_in_a_line(what, said):
    net = nn.Linear(2, 2)
    known = {"net": net, "sgd": torch.optim.SGD(net.parameters(), lr=0.1)}
    model, optimizer = (known.get(each, each) if isinstance(each, str) else each for each in what)
    with pytest.raises(thalweg.UsageError) as error:
        thalweg.monitor(model, optimizer)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("loss", [0.3, torch.tensor(0.3), np.float32(0.3), {"loss": 0.3}])
def test_a_bare_number_is_the_loss_of_an_evaluation(loss):
    net = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with thalweg.monitor(net, optimizer, tell=None) as monitor:
        monitor.evaluation(loss, accuracy=0.9)
    values = {name: series.values[0] for name, series in monitor.log.series.items()}
    assert values == {"validation_loss": pytest.approx(0.3), "validation_accuracy": 0.9}


def test_what_is_no_number_is_told_and_the_watch_goes_on():
    net, told = nn.Linear(2, 2), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with thalweg.monitor(net, optimizer, tell=told.append) as monitor:
        monitor.evaluation(torch.ones(3), accuracy="high", top5=None)
        monitor.evaluation(0.5)
    assert monitor.fault == ""
    assert [*monitor.log.series] == ["validation_loss"]
    assert "of an evaluation after step 0 accuracy is a str, which is no number" in told
    assert len(told) == 3


# ------------------------------------------------------------ several optimizers


def game(order: str, *, steps: int = 150) -> thalweg.Verdict:
    """A generator and what tells its samples from real ones; both rise and fall by turns."""
    torch.manual_seed(0)
    maker, judge = (nn.Sequential(nn.Linear(n, 16), nn.ReLU(), nn.Linear(16, m)) for n, m in DUEL)
    own = {"m": torch.optim.Adam(maker.parameters()), "j": torch.optim.Adam(judge.parameters())}
    tells = nn.functional.binary_cross_entropy_with_logits
    yes, no = torch.ones(32, 1), torch.zeros(32, 1)
    optimizers = [own[name] for name in order]
    with thalweg.monitor(nn.ModuleList([maker, judge]), optimizers, tell=None) as monitor:
        for _ in range(steps):
            made = maker(torch.randn(32, 4))
            first = tells(judge(torch.randn(32, 2) + 2), yes) + tells(judge(made.detach()), no)
            own["j"].zero_grad()
            first.backward()
            own["j"].step()
            second = tells(judge(made), yes)
            own["m"].zero_grad()
            second.backward()
            own["m"].step()
            monitor(first.detach() + second.detach())
    return monitor.verdict()


DUEL = ((4, 2), (2, 1))


@pytest.mark.parametrize("order", ["jm", "mj"])
def test_of_optimizers_that_step_in_turns_losses_do_not_tell(order):
    verdict = game(order)
    of_curves = [each.code for each in verdict.findings if "says" in each.evidence]
    assert set(of_curves) <= {"TW404"}  # a busy machine makes steps slow
    assert verdict.healthy is None
    assert any("step in turns" in each for each in verdict.not_checkable)


@pytest.mark.parametrize("is_turned", [False, True])
def test_optimizers_that_share_a_loss_are_no_rivals(is_turned):
    net = mlp()
    parts = [torch.optim.SGD([p], lr=0.05) for p in net.parameters()]
    with thalweg.monitor(net, parts[::-1] if is_turned else parts, tell=None) as monitor:
        for _ in range(60):
            x, y = torch.randn(32, 8), torch.randint(3, (32,))
            net.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            for part in parts:
                nn.utils.clip_grad_norm_(part.param_groups[0]["params"], 0.5)
                part.step()
            monitor(loss)
    assert monitor.log.kind == ""


# ------------------------------------------------------------ alerts


class Inbox(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    got: list[Any]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def inbox():
    Inbox.got = []
    server = HTTPServer(("127.0.0.1", 0), Inbox)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", Inbox.got
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_alert_is_posted_once(inbox):
    address, got = inbox
    run(mlp(nn.Softmax(dim=1)), alert=address)
    codes = [message["finding"]["code"] for message in got]
    assert codes[0] == "TW305"
    assert len(set(codes)) == len(codes)
    assert got[0]["schema"] == 1
    assert got[0]["finding"]["severity"] == "act"


def test_an_alert_is_given_to_a_command(tmp_path):
    run(mlp(nn.Softmax(dim=1)), alert=f"cat >> '{tmp_path}/alerts.json'")
    assert json.loads((tmp_path / "alerts.json").read_text())["finding"]["code"] == "TW305"


def test_warnings_are_not_alerts():
    alert = Alert("false")
    assert not alert.send(Finding("TW304", "deep", "warn", 1, 0.6, {}, ""))


@pytest.mark.parametrize("to", ["exit 3", "http://127.0.0.1:9/nobody", "no-such-command-here"])
def test_an_alert_that_fails_is_no_fault_of_the_training(to):
    alert = Alert(to, timeout=2.0)
    monitor, _ = run(mlp(nn.Softmax(dim=1)), alert=alert)
    assert monitor.fault == ""
    assert monitor.number == 30
    assert alert.problem.startswith("not sent: ")


def test_a_slow_alert_is_not_waited_for():
    alert = Alert("sleep 30", timeout=0.2)
    run(mlp(nn.Softmax(dim=1)), alert=alert)
    assert alert.problem == "not sent: TimeoutError: it took more than 0.2 s"


def test_a_pause_does_not_make_looking_seem_cheap():
    cost = Cost()
    cost.stamps.extend([0.0, 0.001])
    cost.started()
    cost.stamps.extend([0.002, 0.003, 60.003, 60.004])
    assert cost.num_steps == 4
    assert cost.total == pytest.approx(60.003)
    assert cost.usual == pytest.approx(0.001)
    assert cost.steps_for(0.002, share=0.01) == 200


def test_of_a_short_step_less_is_spent():
    cost = Cost()
    cost.stamps.extend(0.0008 * i for i in range(10))
    assert cost.steps_for(0.002, share=0.01) == 800  # as of a step of 0.25 ms


def test_a_rate_that_is_a_tensor_is_kept_at_every_step():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))
    with thalweg.monitor(model, optimizer, tell=None, share=0.0) as monitor:
        for x, y in points(steps=60):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            optimizer.param_groups[0]["lr"].mul_(0.99)
    rates = monitor.log.series["lr"].values
    assert monitor.fault == ""
    assert (len(rates), rates[-1]) == (60, pytest.approx(0.01 * 0.99**59, rel=1e-4))
