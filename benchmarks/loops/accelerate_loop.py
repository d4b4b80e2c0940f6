"""Accelerate: network and optimizer prepared, `accelerator.backward`, the plain loop else."""

from accelerate import Accelerator
from torch.nn import functional

from benchmarks.loops.work import Stream, Work
from benchmarks.network import fused_adamw


def prepared(work: Work) -> float:
    """Accelerate on the CPU, without a mixed precision."""
    accelerator = Accelerator(cpu=True)
    network = work.network()
    network, optimizer = accelerator.prepare(network, fused_adamw(network))

    stream = Stream(work)
    for x, y in stream:
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(functional.cross_entropy(network(x), y))
        optimizer.step()
    return stream.seconds
