"""A plain torch loop with torch.save: what people write by hand.

It clips nothing. In fp16 it uses torch's GradScaler. It saves network, optimizer, scheduler, scaler
and step, keeps all checkpoints, and started again it loads the newest; the batches before it are
skipped by position. Nothing of torch's random state is saved, as in most such loops.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from benchmarks.faultbench.job import LOG_EVERY, Job, adamw


def train(job: Job) -> nn.Module:
    """Train with a plain loop."""
    network, loss_of = job.wired()
    optimizer = adamw(network)
    scheduler = job.scheduler(optimizer)
    is_half = job.fault.precision == "fp16"
    scaler = torch.amp.GradScaler("cpu", enabled=is_half)
    parts = {
        "network": network,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "scaler": scaler,
    }
    start = loaded(job.folder, parts)

    for step, (x, y) in enumerate(batches(job, start), start + 1):
        job.disturb(step, scheduler)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.float16, enabled=is_half):
            loss = loss_of(network(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        if step % LOG_EVERY == 0:
            job.logged("loss", loss)
        if step % job.plan.every == 0:
            saved = {name: part.state_dict() for name, part in parts.items()}
            torch.save({"step": step, **saved}, job.folder / f"step-{step:06}.pt")
    return network


def batches(job: Job, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches after `start` steps."""
    samples = job.samples()
    sampler = BatchSampler(range(len(samples)), job.task.problem.batch_size, drop_last=False)
    loader = DataLoader(
        samples,
        batch_sampler=list(islice(sampler, start, None)),
        num_workers=job.fault.num_workers,
        collate_fn=lambda batch: batch,
    )
    return iter(loader)


def loaded(folder: Path, parts: dict[str, Any]) -> int:
    """Load the newest checkpoint, if any, and return its step."""
    found = sorted(folder.glob("step-*.pt"))
    if not found:
        return 0
    saved = torch.load(found[-1], weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["step"]
