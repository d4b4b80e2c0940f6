"""What generated GPU kernels are made of: elements and numbers read, written, drawn and summed.

Triton functions. bfloat16 is read and written as its 16 bits, in whole-number arithmetic, so that
every bit is the CPU kernels' own, on a device and in Triton's interpreter.
"""

# pyright: reportOperatorIssue=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportReturnType=false

import triton
import triton.language as tl

from thalweg.backends.base import CLIP_EPS
from thalweg.backends.rounding import GOLDEN, MIX, MIX_LONG

INFINITY = tl.constexpr(float("inf"))
EPS = tl.constexpr(CLIP_EPS)
STEP_OF_NAMES = tl.constexpr(GOLDEN)
LONG_SHIFT0, LONG_FACTOR0 = tl.constexpr(MIX_LONG[0][0]), tl.constexpr(MIX_LONG[0][1])
LONG_SHIFT1, LONG_FACTOR1 = tl.constexpr(MIX_LONG[1][0]), tl.constexpr(MIX_LONG[1][1])
LONG_SHIFT2 = tl.constexpr(MIX_LONG[2][0])
SHIFT0, FACTOR0 = tl.constexpr(MIX[0][0]), tl.constexpr(MIX[0][1])
SHIFT1, FACTOR1 = tl.constexpr(MIX[1][0]), tl.constexpr(MIX[1][1])

# ------------------------------------------------------------ the primitives of the language


@triton.jit
def sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))


@triton.jit
def maximum(a, b):
    return tl.where(a > b, a, tl.where(a == a, b, a))


@triton.jit
def minimum(a, b):
    return tl.where(a < b, a, tl.where(a == a, b, a))


@triton.jit
def power(a, b):
    """a >= 0 to the power b, in float64."""
    return tl.where(b == 0.0, 1.0, tl.exp(b * tl.log(a)))


@triton.jit
def exact(x: tl.constexpr):
    """A number of the coefficients, in float64."""
    return tl.full((), x, tl.float64)


# ------------------------------------------------------------ one element of an array


@triton.jit
def place(addresses, t, kind: tl.constexpr, is_aligned: tl.constexpr):
    """Where array t of a list of addresses begins."""
    at = tl.load(addresses + t).to(tl.pointer_type(kind))
    if is_aligned:
        at = tl.multiple_of(at, 16)
    return at


@triton.jit
def read(at, lane, inside, kind: tl.constexpr, is_whole: tl.constexpr):
    """Elements of an array in the arithmetic's type; 0 outside, unless all are inside."""
    if is_whole:
        stored = tl.load(at + lane)
    else:
        stored = tl.load(at + lane, mask=inside, other=0)
    return widened(stored, kind)


@triton.jit
def write(at, lane, stored, inside, is_whole: tl.constexpr):
    if is_whole:
        tl.store(at + lane, stored)
    else:
        tl.store(at + lane, stored, mask=inside)


@triton.jit
def widened(stored, kind: tl.constexpr):
    if stored.dtype == tl.uint16:
        bits = stored.to(tl.uint32) << 16
        return bits.to(tl.float32, bitcast=True).to(kind)
    else:
        return stored.to(kind)


@triton.jit
def narrowed(x, stored: tl.constexpr):
    """A computed value as it is stored, rounded to the nearest, ties to even."""
    if stored == tl.uint16:
        single = x.to(tl.float32)
        bits = single.to(tl.uint32, bitcast=True)
        up = bits + ((bits >> 16) & 1) + 0x7FFF
        return (tl.where(single != single, 0x7FC00000, up) >> 16).to(tl.uint16)
    else:
        return x.to(stored)


@triton.jit
def narrowed_by_chance(x, chance, shift: tl.constexpr):
    """A bfloat16, rounded up where 16 bits of the draw, from `shift` on, say so."""
    bits = x.to(tl.float32).to(tl.uint32, bitcast=True)
    return ((bits + ((chance >> shift) & 0xFFFF)) >> 16).to(tl.uint16)


@triton.jit
def draw(key, i):
    """32 random bits of element i under a key: counted, not drawn."""
    x = i.to(tl.uint32) + key.to(tl.uint32)
    x = (x ^ (x >> SHIFT0)) * tl.full((), FACTOR0, tl.uint32)
    x = (x ^ (x >> SHIFT1)) * tl.full((), FACTOR1, tl.uint32)
    return x ^ (x >> 16)


@triton.jit
def key_of(seed, name, t):
    """The key of a parameter's draws in its update t."""
    step = tl.full((), STEP_OF_NAMES, tl.uint64)
    x = mixed(seed.to(tl.uint64) * step + name.to(tl.uint64))
    x = mixed(x + t.to(tl.int64).to(tl.uint64) * step)
    return (x >> 32).to(tl.int64)


@triton.jit
def mixed(x):
    x = (x ^ (x >> LONG_SHIFT0)) * tl.full((), LONG_FACTOR0, tl.uint64)
    x = (x ^ (x >> LONG_SHIFT1)) * tl.full((), LONG_FACTOR1, tl.uint64)
    return x ^ (x >> LONG_SHIFT2)


# ------------------------------------------------------------ sums


@triton.jit
def within(x, inside, is_whole: tl.constexpr):
    """x where it counts; 0 in the lanes outside of the array."""
    if is_whole:
        return x
    else:
        return tl.where(inside, x, 0.0)


@triton.jit
def gradient_sum(at, n, kind: tl.constexpr, block: tl.constexpr):
    """(sum of g², number of elements that are not finite) of n elements, in float64."""
    lane = tl.arange(0, block)
    total = tl.zeros((block,), kind)
    num_whole = n // block * block
    for first in range(0, num_whole, block):
        g = read(at + first, lane, lane < block, kind, True)
        total += g * g
    if num_whole < n:
        g = read(at + num_whole, lane, lane < n - num_whole, kind, False)
        total += g * g
    return checked(tl.sum(total, axis=0).to(tl.float64), at, n, block)


@triton.jit
def checked(total, at, n, block: tl.constexpr):
    """(sum of g², number not finite): summed anew, and counted, only where the sum overflowed."""
    bad = tl.full((), 0.0, tl.float64)
    if not (total < INFINITY):
        lane = tl.arange(0, block)
        wide = tl.zeros((block,), tl.float64)
        count = tl.zeros((block,), tl.float64)
        for first in range(0, n, block):
            g = read(at + first, lane, lane < n - first, tl.float64, False)
            wide += g * g
            count += tl.where(tl.abs(g) < INFINITY, 0.0, 1.0)
        bad = tl.sum(count, axis=0)
        total = tl.sum(wide, axis=0)
    return total, bad


@triton.jit
def stretch_sum(numbers, first, last, width: tl.constexpr):
    """The sum of the float64 numbers from place first to place last, in a fixed order."""
    lane = tl.arange(0, width)
    total = tl.zeros((width,), tl.float64)
    for k in range(first, last, width):
        total += tl.load(numbers + k + lane, mask=lane < last - k, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def segment_sum(numbers, segments, segment, num_all, width: tl.constexpr):
    """The sum of the numbers that belong to a segment."""
    lane = tl.arange(0, width)
    total = tl.zeros((width,), tl.float64)
    for k in range(0, num_all, width):
        inside = lane < num_all - k
        belongs = tl.load(segments + k + lane, mask=inside, other=-1) == segment
        total += tl.load(numbers + k + lane, mask=inside & belongs, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def clip_factor(limit, norm):
    """What a gradient of this norm is multiplied with; 1 without a limit."""
    factor = limit / (norm + EPS)
    return tl.where(limit < INFINITY, tl.where(factor > 1.0, 1.0, factor), 1.0)
