"""Row 4: the rules for which torch has no fused CPU kernel, against the best of all libraries."""

import logging
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.steps.clock import measured
from benchmarks.steps.contenders import Job, Make, check, contenders, stepping
from benchmarks.steps.large import mix
from benchmarks.steps.peers import RULES, Peer, Rule, installed
from benchmarks.steps.report import Row, Setting, compared
from benchmarks.steps.tensors import Set, Shapes, described

OURS = "thalweg"
GOAL = 1 / 2.5


def rows(setting: Setting) -> Iterator[Row]:
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # says that it compiles anew
    for name, rule in RULES.items():
        yield from _rule(name, rule, setting)
        if setting.compiles:
            torch.compiler.reset()  # it compiles no more than eight versions of a function


def _rule(name: str, rule: Rule, setting: Setting) -> Iterator[Row]:
    """The quickest of all peers, and where that one compiles, the quickest that does not."""
    shapes = mix(setting)
    jobs = [stepping(OURS, Set(shapes), partial(rule.ours, **rule.settings))]
    compilers = set()
    for peer, make in installed(rule, compiles=setting.compiles):
        jobs.append(_job(peer, make, shapes))
        if peer.compiles:
            compilers.add(peer.name)
    torch.set_num_threads(setting.threads[0])  # a compiled step is compiled anew for another number
    seconds = check(jobs)
    peers = [job.name for job in jobs[1:]]
    what = f"{name}, {described(shapes)}"
    note = "; ".join(f"first step of {peer} {seconds[peer]:.1f} s" for peer in sorted(compilers))
    for threads in setting.threads:
        torch.set_num_threads(threads)
        timings = measured(contenders(jobs), setting.plan)
        row = partial(compared, timings, ours=OURS, number=4, threads=threads, goal=GOAL)
        best = row(peers=peers, what=what, note=note)
        yield best
        if best.peer in compilers:
            ready = [peer for peer in peers if peer not in compilers]
            yield row(peers=ready, what=f"{what}, peers that do not compile")


def _job(peer: Peer, make: Make, shapes: Shapes) -> Job:
    data = Set(shapes)
    before = data.attach if peer.takes_grads else None
    return stepping(peer.name, data, make, before=before, is_same=peer.is_same)
