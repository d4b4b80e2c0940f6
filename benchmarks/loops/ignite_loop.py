"""pytorch-ignite: an Engine with no handlers."""

import torch
from ignite.engine import Engine
from torch.nn import functional

from benchmarks.loops.work import Batch, Stream, Work
from benchmarks.network import fused_adamw


def engine(work: Work) -> float:
    """An Engine whose update returns the loss, unread."""
    network = work.network()
    optimizer = fused_adamw(network)

    def update(_: Engine, batch: Batch) -> torch.Tensor:
        x, y = batch
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    stream = Stream(work)
    Engine(update).run(stream, max_epochs=1)
    return stream.seconds
