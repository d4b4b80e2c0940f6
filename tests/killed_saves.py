"""Saves that are killed: a process that saves without end, SIGKILL at a random moment, and a look.

    python killed_saves.py FOLDER ROUNDS SEED       prints what was found, as JSON

One process imports torch once and forks the ones that are killed.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import time
import warnings
from itertools import count
from pathlib import Path

import torch

from checkpoints import facts_of, is_whole, names_in, state_of
from thalweg.state.checkpoint import clean, newest
from thalweg.state.saver import Saver

SIZE = 30_000
KEEP = 2
BEGUN = -1


def save_for_ever(root: Path, number: int, pipe: int) -> None:
    """Save, and write each number into the pipe once the saver says that it is safe."""
    saver = Saver(root, keep=KEEP, tell=lambda line: os.write(2, line.encode()))
    said = BEGUN
    os.write(pipe, said.to_bytes(8, "little", signed=True))
    for step in count(number):
        saver.save(step, state_of(step, SIZE), facts_of(step), is_best=step % 5 == 0)
        if step % 2:
            saver.wait()
        if saver.acknowledged not in (None, said):
            said = saver.acknowledged
            os.write(pipe, said.to_bytes(8, "little"))


class Killer:
    """Forks, waits for some saves to be safe, and kills in the middle of a later one.

    The moment within a save is drawn from the time that saves have taken so far, so that a busy
    machine is hit as well as a quick one.
    """

    def __init__(self, seed: int):
        self._draw = random.Random(seed)
        self._seconds = 0.01

    def killed(self, root: Path, number: int) -> int:
        """The newest number that was said to be safe before the kill; -1 where none was."""
        out, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                save_for_ever(root, number, pipe)
            finally:
                os._exit(1)
        os.close(pipe)
        with os.fdopen(out, "rb", buffering=0) as said:
            heard = self._wait(said, self._draw.randrange(3))
            time.sleep(self._draw.uniform(0, 1.5 * self._seconds))
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            heard += said.read()
        numbers = [heard[i : i + 8] for i in range(0, len(heard), 8)]
        return max(int.from_bytes(raw, "little", signed=True) for raw in numbers)

    def _wait(self, said: io.RawIOBase, saves: int) -> bytes:
        """Until the child has begun, and said so many numbers."""
        heard = said.read(8) or b""
        for _ in range(saves):
            begun = time.perf_counter()
            heard += said.read(8) or b""
            self._seconds += 0.2 * (time.perf_counter() - begun - self._seconds)
        return heard


def main(root: Path, rounds: int, seed: int) -> dict[str, int]:
    """Rounds, and in how many of them something of each kind was found."""
    killer = Killer(seed)
    torch.set_num_threads(1)
    found = dict.fromkeys(("rounds", "interrupted", "torn", "lost", "leftovers"), 0)
    safe, number = -1, 0
    for _ in range(rounds):
        safe = max(safe, killer.killed(root, number))
        found["rounds"] += 1
        found["interrupted"] += any(name.startswith(".") for name in names_in(root))

        clean(root)
        lines: list[str] = []
        saved = newest(root, lines.append)
        found["torn"] += bool(lines) or (saved is not None and not is_whole(saved, SIZE))
        found["lost"] += (-1 if saved is None else saved.number) < safe
        found["leftovers"] += any(name.startswith(".") for name in names_in(root))
        number = 0 if saved is None else saved.number + 1
    return found | {"saves": number, "folders": len(names_in(root))}


if __name__ == "__main__":
    # Python 3.12 warns of threads that packages started: no child needs them
    warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
