"""What memory gives to the access pattern of Adam: four arrays read and three written, in place."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

BYTES_AN_ELEMENT = 28  # float32: p, m, v read and written, g read


@numba.njit(nogil=True, fastmath=True, error_model="numpy")
def _sweep(p, g, m, v, start, end):
    for i in range(start, end):
        m[i] += g[i]
        v[i] += g[i]
        p[i] += g[i]


class Sweep:
    """A pass over four arrays of `size` float32 elements; call it with a number of threads.

    Each thread has one stretch. The pool's other threads sleep between calls.
    """

    def __init__(self, size: int, most_threads: int):
        self.arrays = [np.full(size, value, np.float32) for value in (1.0, 1e-9, 1.0, 1.0)]
        self._pool = ThreadPoolExecutor(max_workers=max(1, most_threads - 1))
        self(1)

    def __call__(self, num_threads: int) -> None:
        size = len(self.arrays[0])
        ends = [size * (k + 1) // num_threads for k in range(num_threads)]
        starts = [0, *ends]
        waiting = [
            self._pool.submit(_sweep, *self.arrays, start, end)
            for start, end in zip(starts[1:], ends[1:], strict=False)
        ]
        _sweep(*self.arrays, 0, ends[0])
        for item in waiting:
            item.result()

    def of(self, num_threads: int) -> Callable[[], None]:
        return lambda: self(num_threads)

    def close(self) -> None:
        self._pool.shutdown()


def is_vectorised() -> bool:
    """Did the compiler use vector registers for the pass? (x86 only; else nothing is known.)"""
    texts = _sweep.inspect_asm().values()
    return any("vaddps" in text or "addps" in text for text in texts)
