"""Settings beside a log in our words, checkpoints by step, and the tool that wrote it."""

from __future__ import annotations

import json
import zipfile

import pytest

from foreign_kit import GENUINE, falling, read, written
from thalweg.record.foreign.nested import read_settings, read_yaml
from thalweg.record.foreign.pickled import read_pickled
from thalweg.record.foreign.words import in_our_words

KNOWN = {
    "Hugging Face": (
        {
            "per_device_train_batch_size": 8,
            "max_grad_norm": 1.0,
            "lr_scheduler_type": "cosine",
            "bf16": True,
            "fp16": False,
            "optim": "adamw_torch_fused",
            "warmup_steps": 100,
        },
        {
            "batch_size": 8,
            "clip": 1.0,
            "schedule": "cosine",
            "precision": "bf16",
            "optimizer": "adamw",
            "warmup": 100,
        },
    ),
    "Lightning": (
        {
            "trainer": {"gradient_clip_val": None, "precision": "16-mixed", "max_epochs": 3},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
            "lr_scheduler": {"class_path": "torch.optim.lr_scheduler.OneCycleLR"},
            "data": {"init_args": {"batch_size": 32}},
        },
        {
            "clip": 0.0,
            "precision": "fp16",
            "epochs": 3,
            "optimizer": "adamw",
            "lr": 1e-3,
            "schedule": "one_cycle",
            "batch_size": 32,
        },
    ),
    "Hydra": (
        {
            "optim": {"_target_": "torch.optim.SGD", "lr": 0.1, "weight_decay": 5e-4},
            "scheduler": {"name": "StepLR"},
            "loader": {"batch_size": 64},
        },
        {"optimizer": "sgd", "lr": 0.1, "weight_decay": 5e-4, "schedule": "step", "batch_size": 64},
    ),
    "each under its value": (
        {"lr": {"value": 0.1}, "batch-size": {"value": 8}},
        {"lr": 0.1, "batch_size": 8},
    ),
    "ours": (
        {"settings": {"lr": 0.1, "clip": "none", "precision": "bf16-weights", "schedule": "wsd"}},
        {"lr": 0.1, "clip": 0.0, "precision": "bf16-weights", "schedule": "wsd"},
    ),
    "a share of the steps": ({"warmup_steps": 0.1, "max_steps": 50}, {"warmup": 5, "steps": 50}),
    "classes": ({"model": {"num_classes": 10}}, {"num_classes": 10}),
    "a loss": ({"criterion": "torch.nn.MSELoss"}, {"loss": "mse"}),
    "patience": (
        {"stop": {"patience": 5}, "scheduler": {"patience": 2}},
        {"patience": 5},
    ),
}
UNKNOWN = {
    "of an evaluation": {"val_dataloader": {"batch_size": 256}, "eval_batch_size": 8},
    "stated twice": {"a": {"batch_size": 3}, "b": {"batch_size": 4}},
    "of a search": {"lr_finder": {"lr": 1.0}},
    "no number": {"batch_size": "auto", "lr": [1, 2], "clip": True},
    "no limit": {"max_steps": -1, "lr_scheduler": None},
    "another word": {"dropout": 0.1, "lr_decay": 0.9, "num_workers": 4, "clip_model": "ViT"},
}


@pytest.mark.parametrize(("values", "known"), KNOWN.values(), ids=KNOWN)
def test_settings_in_our_words(values, known):
    assert in_our_words(read_settings(json.dumps(values), ".json")) == known


@pytest.mark.parametrize("values", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_told_is_not_guessed(values):
    assert in_our_words(read_settings(json.dumps(values), ".json")) == {}


def test_of_two_the_one_that_trains_counts():
    rows = {"train.batch_size": 3, "other.batch_size": 4}
    assert in_our_words(rows) == {"batch_size": 3}


def test_plain_yaml():
    text = """# a run
optimizer:
  name: "AdamW"   # decoupled
  lr: 1e-3
  betas: [0.9, 0.95]
callbacks:
  - name: checkpoint
    every: 3
data: !!python/object:x.Y
  batch_size: 32
empty:
flag: true
path: a#b
"""
    assert read_yaml(text) == {
        "optimizer.name": "AdamW",
        "optimizer.lr": 1e-3,
        "optimizer.betas": "[0.9, 0.95]",
        "data.batch_size": 32,
        "flag": True,
        "path": "a#b",
    }


FILES = {
    "hparams.yaml": "lr: 0.1\nbatch_size: 8\n",
    "config.json": '{"lr": 0.1, "batch_size": 8}',
    ".hydra/config.yaml": "optim:\n  lr: 0.1\n  batch_size: 8\n",
    "run.toml": "[settings]\nlr = 0.1\nbatch_size = 8\n",
    "args.txt": "lr: 0.1\nbatch_size: 8\n",
    "opt.txt": "Namespace(lr=0.1, batch_size=8, name='x')\n",
    "../args.json": '{"lr": 0.1, "batch_size": 8}',
}


@pytest.mark.parametrize(("name", "text"), FILES.items(), ids=FILES)
def test_files_beside_a_log(tmp_path, name, text):
    folder = tmp_path / "run" / "logs"
    path = written(folder, "log.csv", falling())
    written(folder, name, text)
    assert read(path).settings == {"lr": 0.1, "batch_size": 8}


def test_a_models_config_tells_only_its_classes(tmp_path):
    config = {"model_type": "bert", "dtype": "float16", "id2label": {"0": "a", "1": "b", "2": "c"}}
    written(tmp_path, "config.json", json.dumps(config))
    assert read(written(tmp_path, "log.csv", falling())).settings == {"num_classes": 3}


@pytest.mark.parametrize("text", ["{", "\x00\x01", "[[[[", "lr: &a *a\n: :\n", "lr = [", "- - -"])
def test_broken_files_of_settings_are_passed_over(tmp_path, text):
    for name in ("config.json", "hparams.yaml", "run.toml", "args.txt", "training_args.bin"):
        written(tmp_path, name, text)
    assert not {"lr", "batch_size"} & read(written(tmp_path, "log.csv", falling())).settings.keys()


def test_settings_in_the_text_itself(tmp_path):
    head = "Namespace(lr=0.05, batch_size=16, optimizer='sgd', grad_clip=None)\n"
    lines = "".join(f"step {i} loss {1 / i}\n" for i in range(1, 5))
    log = read(written(tmp_path, "train.log", head + lines + "lr: 99\n"))
    assert log.settings == {"lr": 0.05, "batch_size": 16, "optimizer": "sgd", "clip": 0.0}


def test_a_pickle_is_never_run(tmp_path):
    with zipfile.ZipFile(tmp_path / "training_args.bin", "w") as archive:
        archive.writestr("x/data.pkl", b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert "pwned" not in read_pickled(tmp_path / "training_args.bin")
    assert not (tmp_path / "pwned").exists()


CHECKPOINTS = [
    "checkpoint-500",
    "checkpoint-1000",
    "epoch=3-step=700.ckpt",
    "step_200.pt",
    "best.pt",
]


def test_checkpoints_by_step(tmp_path):
    for name in CHECKPOINTS:
        written(tmp_path, name if "." in name else f"{name}/model.safetensors", "x")
    (tmp_path / "checkpoint-1500").mkdir()
    log = read(written(tmp_path, "log.csv", falling()))
    assert list(log.checkpoints) == [200, 500, 700, 1000]
    assert log.checkpoints[1000].endswith("checkpoint-1000")


TOOLS = {
    "thalweg": ("run.toml", "step,loss"),
    "lightning": ("hparams.yaml", "epoch,step,train_loss"),
    "huggingface": ("training_args.bin", "step,loss"),
    "": ("notes.md", "step,loss"),
}


@pytest.mark.parametrize(("tool", "beside"), TOOLS.items(), ids=TOOLS)
def test_the_tool_from_what_lies_beside(tmp_path, tool, beside):
    written(tmp_path, beside[0], "")
    assert read(written(tmp_path, "metrics.csv", falling(header=beside[1]))).tool == tool


def test_a_states_own_settings_come_before_those_beside_it():
    assert read(GENUINE / "huggingface/nan_by_itself").settings["steps"] == 60


def test_a_checkpoint_s_model_tells_how_many_classes_there_are(tmp_path):
    state = tmp_path / "checkpoint-50" / "trainer_state.json"
    state.parent.mkdir()
    rows = [{"step": i, "loss": 2.0 / i} for i in (10, 20, 30, 40, 50)]
    state.write_text(json.dumps({"log_history": rows, "global_step": 50}))
    labels = {str(i): f"LABEL_{i}" for i in range(10)}
    text = json.dumps({"model_type": "bert", "id2label": labels})
    (state.parent / "config.json").write_text(text)
    assert read(state).settings["num_classes"] == 10
