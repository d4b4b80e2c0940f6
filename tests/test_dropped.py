"""Dropout as a function, which goes on in evaluation mode."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

import thalweg


class Net(nn.Module):
    """Two layers, between which something may be dropped."""

    def __init__(self, how: str):
        super().__init__()
        self.first, self.last, self.how = nn.Linear(8, 16), nn.Linear(16, 3), how
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        if self.how == "always":
            x = F.dropout(x, 0.4)
        elif self.how == "told":
            x = F.dropout(x, 0.4, training=self.training)
        elif self.how == "module":
            x = self.drop(x)
        elif self.how == "attention":
            x = F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.2)[0]
        elif self.how == "broken" and not self.training:
            raise ValueError("no evaluation")
        return self.last(x)


def found_in(how: str, *, monte_carlo: bool = False) -> list[str]:
    """What the monitor says of a loop with an evaluation after its eighth step."""
    torch.manual_seed(0)
    model = Net(how)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        for step in range(1, 13):
            x, y = torch.randn(32, 8), torch.randint(0, 3, (32,))
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor(loss)
            if step == 8:
                model.eval()
                if monte_carlo:
                    model.drop.train()
                with torch.no_grad():
                    if how == "broken":
                        with pytest.raises(ValueError, match="no evaluation"):
                            model(x)
                    else:
                        model(x)
                model.train()
    assert not _get_current_function_mode_stack()
    said = [each for each in monitor.findings if each.code == "TW306"]
    return [str(each.evidence["what"]) for each in said]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("always", "dropout dropped 40% in an evaluation after step 8"),
        ("attention", "scaled_dot_product_attention dropped 20%"),
    ],
)
def test_a_function_that_drops_in_evaluation_mode_is_told(how, says):
    (said,) = found_in(how)
    assert said.startswith(says)


@pytest.mark.parametrize("how", ["told", "module", "nothing", "broken"])
def test_what_hears_of_the_mode_is_not(how):
    assert not found_in(how)


@pytest.mark.parametrize("is_reset", [True, False])
def test_batch_norm_that_knows_nothing_is_told(is_reset):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with thalweg.monitor(model, optimizer, tell=None) as monitor:
        for _ in range(8):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(torch.randn(32, 8)), torch.randint(0, 3, (32,)))
            loss.backward()
            optimizer.step()
            monitor(loss)
        if is_reset:
            model[1].reset_running_stats()
        with torch.no_grad():
            model.eval()(torch.randn(32, 8))
    said = [str(each.evidence["what"]) for each in monitor.findings if each.code == "TW306"]
    assert bool(said) == is_reset
    assert all("the running means of '1' are 0 and the variances 1" in each for each in said)


def test_an_average_over_passes_that_drop_is_meant_so():
    assert not found_in("module", monte_carlo=True)


def test_an_evaluation_is_the_same_to_the_bit():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(4, 6, 8)
    with torch.no_grad():
        alone = model.eval()(x)
    with thalweg.monitor(model.train(), optimizer, tell=None) as monitor:
        for _ in range(4):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            monitor(loss)
        with torch.no_grad():
            assert torch.equal(model.eval()(x), alone)
