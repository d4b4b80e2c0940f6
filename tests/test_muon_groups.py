"""What is a hidden matrix, by name, in models of several kinds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import thalweg


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width, bias=False)


class Transformer(nn.Module):
    """A language model without its forward; `head_first` registers the head before the blocks."""

    def __init__(self, *, is_tied: bool = False, head_first: bool = False):
        super().__init__()
        self.tokens = nn.Embedding(11, 8)
        self.position_embedding = nn.Parameter(torch.zeros(16, 8))
        if head_first:
            self.head = nn.Linear(8, 11)
        self.block = Block(8)
        self.norm = nn.LayerNorm(8)
        if not head_first:
            self.head = nn.Linear(8, 11)
        if is_tied:
            self.head.weight = self.tokens.weight


HIDDEN = [
    "block.attention.in_proj_weight",
    "block.attention.out_proj.weight",
    "block.up.weight",
    "block.down.weight",
]


def split(model: nn.Module, **more) -> tuple[list[str], list[str]]:
    """Names of Muon's parameters and of AdamW's; together they are all of the model's, once."""
    groups = {g["use_muon"]: g["params"] for g in thalweg.muon_groups(model, **more)}
    muons, others = groups.get(True, []), groups.get(False, [])
    assert sorted([*muons, *others], key=str) == sorted(model.named_parameters(), key=str)
    return [name for name, _ in muons], [name for name, _ in others]


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("head_first", [False, True])
def test_transformer(is_tied, head_first):
    muons, others = split(Transformer(is_tied=is_tied, head_first=head_first))
    assert muons == HIDDEN
    head = {"head.bias"} if is_tied else {"head.weight", "head.bias"}
    assert {"tokens.weight", "position_embedding", "block.norm.weight", *head} <= set(others)


def test_a_head_that_is_said():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    assert split(model)[0] == ["0.weight", "1.weight"]
    assert split(model, head="0")[0] == ["1.weight", "2.weight"]
    assert split(model, head=["1", "2"])[0] == ["0.weight"]
    assert split(model, head=())[0] == ["0.weight", "1.weight", "2.weight"]


def test_convolutions():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv1d(8, 8, 3, bias=False),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    muons, others = split(model)
    assert muons == ["0.weight", "2.weight"]
    assert others == ["0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]

    only_kernels = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1))
    assert split(only_kernels) == (["0.weight"], ["0.bias", "1.weight", "1.bias"])


def test_other_arrays_of_many_dimensions_are_adamws():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model.register_parameter("class_token", nn.Parameter(torch.zeros(1, 1, 2)))
    assert split(model)[0] == ["0.weight"]


def test_recurrent():
    model = nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2))
    assert split(model)[0] == ["0.weight_ih_l0", "0.weight_hh_l0"]


def test_nothing_hidden():
    assert split(nn.Linear(3, 2)) == ([], ["weight", "bias"])
    optimizer = thalweg.Muon(thalweg.muon_groups(nn.Linear(3, 2)))
    assert [group["use_muon"] for group in optimizer.param_groups] == [False]


def test_what_is_no_model_or_head_is_told():
    with pytest.raises(ValueError, match="takes a torch module, not list"):
        thalweg.muon_groups([])
    with pytest.raises(ValueError, match=r"head is 'lm_head': .* it has 0, 1"):
        thalweg.muon_groups(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), head="lm_head")


def test_a_model_learns():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    )
    optimizer = thalweg.Muon(thalweg.muon_groups(model), lr=0.02, adamw_lr=0.01, weight_decay=0.0)
    x = torch.randn(64, 5)
    y = x[:, :1].sin() * x[:, 1:2]
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
