"""The one network that every contender with torch trains, and how it predicts."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from benchmarks.problem import CLASSIFICATION, Problem

HIDDEN = (256, 256)
LR = 1e-3

Predict = Callable[[np.ndarray], np.ndarray]


class MLP(nn.Module):
    """Linear layers, LayerNorm and ReLU between them: (n, widths[0]) -> (n, widths[-1]).

    It is the model that thalweg's fit builds by default, so that all of torch trains the same.
    """

    def __init__(self, *widths: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def built(problem: Problem, *, seed: int) -> MLP:
    """A fresh network for the problem, its weights decided by the seed alone."""
    torch.manual_seed(seed)
    return MLP(problem.num_features, *HIDDEN, problem.num_outputs)


def criterion(kind: str) -> nn.Module:
    """Cross-entropy for classes, mean squared error for a number."""
    return nn.CrossEntropyLoss() if kind == CLASSIFICATION else nn.MSELoss()


def fused_adamw(network: nn.Module) -> torch.optim.Optimizer:
    """torch's fastest AdamW on a CPU, at the common rate and torch's own other defaults."""
    return torch.optim.AdamW(network.parameters(), lr=LR, fused=True)


def predictor(network: nn.Module, kind: str) -> Predict:
    """A function from features to float64 probabilities (n, classes) or values (n, 1)."""

    def predict(x: np.ndarray) -> np.ndarray:
        network.eval()
        with torch.inference_mode():
            outputs = network(torch.from_numpy(x)).double()
            predicted = outputs.softmax(1) if kind == CLASSIFICATION else outputs
        network.train()
        return predicted.numpy()

    return predict
