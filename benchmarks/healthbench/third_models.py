"""Networks of the third part: a convolution over words, and one that has learned digits before.

As in `models.py`: hidden layers and a `head`, and depth and width mean the same in each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import Convnet, Layers, Shape, block, normal
from benchmarks.healthbench.parts import Data
from benchmarks.healthbench.third_sets import NUM_WORDS, digits_before

SPANS, STEPS_BEFORE = (1, 2), 250
"""Words that a filter sees; steps on digits."""


class Phrases(nn.Module):
    """(n, words) -> (n, outputs): filters over spans of words (Kim, 2014), of each its largest
    answer, and layers behind them.
    """

    def __init__(self, data: Data, shape: Shape):
        super().__init__()
        self.embedding = nn.Embedding(NUM_WORDS, 20, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.filters = nn.ModuleList(
            block(
                nn.Conv2d(1, shape.width // 2, (span, 20)),
                normal(shape.norm, shape.width // 2, is_picture=True),
                shape,
            )
            for span in SPANS
        )
        self.layers = Layers(len(SPANS) * (shape.width // 2), data.num_outputs, shape)

    def forward(self, x: Tensor) -> Tensor:
        words = self.embedding(x)[:, None]
        return self.layers(torch.cat([each(words).amax((2, 3)) for each in self.filters], 1))


def pretrained(data: Data, shape: Shape) -> Convnet:
    """Convolutions that have learned digits, and a new head."""
    model = Convnet(data.num_outputs, shape)
    model.hidden.load_state_dict(_of_digits(shape))
    return model


@cache
def _of_digits(shape: Shape) -> Mapping[str, Tensor]:
    """The hidden layers, trained; the random state stays as it was."""
    part = digits_before()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Convnet(10, shape)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for rows in torch.randint(len(part), (STEPS_BEFORE, 64)):
            batch = part.rows(rows)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.x), batch.y).backward()
            optimizer.step()
    return model.hidden.state_dict()


NETWORKS: Mapping[str, Callable[[Data, Shape], nn.Module]] = {
    "phrases": Phrases,
    "pretrained": pretrained,
}
