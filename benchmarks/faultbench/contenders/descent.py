"""thalweg's descend, with the guard acting and without it; everything else at its defaults."""

from typing import Any

from torch import nn

import thalweg
from benchmarks.faultbench.faults import Fault
from benchmarks.faultbench.job import LOG_EVERY, Job
from thalweg.loop.order import Shuffled
from thalweg.types import Event, Mode

ROUTINE = {"best", "lr", "resume"}
"""Kinds of events of a run that nothing has happened to; the lr of a fault is our own doing."""


def guarded(job: Job) -> nn.Module:
    """The guard acts."""
    return train(job, "act")


def unguarded(job: Job) -> nn.Module:
    """No guard at all."""
    return train(job, "off")


def train(job: Job, guard: Mode) -> nn.Module:
    """Train with descend, which looks at the validation set eight times."""
    network, loss = job.wired()
    optimizer = job.task.optimizer(network.parameters())
    validation = job.task.problem.validation
    task = thalweg.Task(network, data(job), loss=loss, validation=(validation.x, validation.y))
    with thalweg.descend(
        task,
        optimizer,
        batch_size=job.task.problem.batch_size,
        schedule=job.schedule,
        until=thalweg.budget(steps=job.plan.num_steps),
        seed=job.seed,
        precision=job.fault.precision,
        workers=job.fault.num_workers,
        guard=guard,
        evaluate_every=job.plan.every,
        folder=job.folder / "run",
        resume=True,
        checkpoint_every=job.plan.every,
    ) as descent:
        for step in descent:
            if step.number == job.plan.fault_at - 1:
                disturb(optimizer, job.fault)
            if step.number % LOG_EVERY == 0:
                job.logged("loss", step.loss)
            if descent.ending is not None and descent.ending.status == "stopped":
                job.stopped = descent.ending.reason
    job.said += [f"{event.kind}: {event.text}" for event in descent.events if is_news(event)]
    return network


def data(job: Job) -> Any:
    """Arrays, or a Dataset where workers fetch it, shuffled so that thalweg's order is the stream.

    One epoch is the whole stream: what stands at a position of it is put where the order looks.
    """
    num_samples = job.plan.num_steps * job.task.problem.batch_size
    order = Shuffled(num_samples, job.seed).indices(0, 0, num_samples)
    samples = job.samples(order)
    return samples if job.fault.num_workers else samples.arrays()


def disturb(optimizer: thalweg.Optimizer, fault: Fault) -> None:
    """The fault's factor on the rate, from outside as any user may set it."""
    for group in optimizer.param_groups:
        group["lr"] *= fault.lr_factor


def is_news(event: Event) -> bool:
    """Would it stand out in a run's record?"""
    is_planned_end = event.kind == "stop" and event.data.get("status") == "budget"
    return event.kind not in ROUTINE and not is_planned_end
