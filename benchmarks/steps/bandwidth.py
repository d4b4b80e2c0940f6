"""What memory gives to the access pattern of Adam: four arrays read and three written, in place."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np

BYTES_AN_ELEMENT = 28  # float32: p, m, v read and written, g read


@numba.njit(nogil=True, fastmath=True, error_model="numpy")
def _sweep(p, g, m, v):
    for i in range(p.size):
        x = g[i]
        m[i] += x
        v[i] += x
        p[i] += x


class Sweep:
    """A pass over four arrays of `size` float32 elements; call it with a number of threads.

    Each thread has one stretch. The pool's other threads sleep between calls.
    """

    def __init__(self, size: int, most_threads: int):
        self.arrays = [np.full(size, value, np.float32) for value in (1.0, 1e-9, 1.0, 1.0)]
        self._pool = ThreadPoolExecutor(max_workers=max(1, most_threads - 1))
        self(1)
        if not is_vectorised():
            raise AssertionError("the bare sweep adds one number at a time: it measures no memory")

    def __call__(self, num_threads: int) -> None:
        size = len(self.arrays[0])
        ends = [size * k // num_threads for k in range(num_threads + 1)]
        mine, *others = [
            [array[start:end] for array in self.arrays] for start, end in pairwise(ends)
        ]
        waiting = [self._pool.submit(_sweep, *stretch) for stretch in others]
        _sweep(*mine)
        for item in waiting:
            item.result()

    def of(self, num_threads: int) -> Callable[[], None]:
        return lambda: self(num_threads)

    def close(self) -> None:
        self._pool.shutdown()


def is_vectorised() -> bool:
    """Did the compiler add several numbers at once? (Looks for x86's and ARM's instructions.)"""
    text = "".join(_sweep.inspect_asm().values())
    return any(word in text for word in ("vaddps", "addps", "fadd\tv"))
