"""A loop of one's own with torch's scheduler, and thalweg.Guard around the update."""

from typing import Any

import torch
from torch import nn

import thalweg
from benchmarks.faultbench.contenders.descent import is_news
from benchmarks.faultbench.contenders.plain import batches
from benchmarks.faultbench.job import LOG_EVERY, Job


def train(job: Job) -> nn.Module:
    """Train with a plain loop whose update is the guard's."""
    network, loss_of = job.wired()
    optimizer = job.task.optimizer(network.parameters())
    scheduler = job.scheduler(optimizer)
    is_half = job.fault.precision == "fp16"
    scaler = torch.amp.GradScaler("cpu", enabled=is_half)
    guard = thalweg.Guard(
        network, optimizer, scaler=scaler if is_half else None, seed=job.seed, mode="act"
    )
    parts: dict[str, Any] = {
        "model": network,
        "optimizer": optimizer,
        "schedule": scheduler,
        "guard": guard,
        "scaler": scaler,
    }
    start = thalweg.load_state(job.folder, **parts) or 0

    with guard:
        for number, (x, y) in enumerate(batches(job, start), start + 1):
            job.disturb(number, scheduler)
            with guard.forward(), torch.autocast("cpu", torch.float16, enabled=is_half):
                loss = loss_of(network(x), y)
            scaler.scale(loss).backward()
            guard.step(loss, weight=len(x))
            scheduler.step()
            if number % LOG_EVERY == 0:
                job.logged("loss", loss.detach())
            if number % job.plan.every == 0:
                thalweg.save(job.folder, **parts)
            if guard.is_stopped:
                job.stopped = guard.events[-1].text
                break
    job.said += [f"{event.kind}: {event.text}" for event in guard.events if is_news(event)]
    return network
