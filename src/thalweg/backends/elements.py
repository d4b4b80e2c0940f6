"""What generated CPU kernels are made of: reading and writing one element, taking a piece of work.

Numba intrinsics, each a few LLVM instructions. Memory is given by addresses. Every array of a
kernel has a number, and loads and stores of different numbers are promised not to overlap, so that
LLVM vectorises without checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from thalweg.backends.rounding import MIX

MOST_ARRAYS = 16

_FLOAT, _DOUBLE, _HALF = ir.FloatType(), ir.DoubleType(), ir.HalfType()
_INT16, _INT32, _INT64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_STORED = {"float32": _FLOAT, "float64": _DOUBLE, "float16": _HALF, "bfloat16": _INT16}
_COMPUTED = {"float32": (types.float32, _FLOAT), "float64": (types.float64, _DOUBLE)}


def load(dtype: str, arithmetic: str, number: int) -> Any:
    """load(address, i): element i of array `number`, in the arithmetic's type."""
    kind, computed = _COMPUTED[arithmetic]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _place(builder, _STORED[dtype], given[0], given[1])
        return _widened(builder, _marked(builder, builder.load(place), number), dtype, computed)

    @intrinsic
    def element(typing, address, i):
        return kind(types.int64, types.int64), generate

    return element


def store(dtype: str, arithmetic: str, number: int) -> Any:
    """store(address, i, value): element i of array `number`, rounded to the nearest."""
    kind, computed = _COMPUTED[arithmetic]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        value = _narrowed(builder, given[2], dtype, computed)
        place = _place(builder, _STORED[dtype], given[0], given[1])
        _marked(builder, builder.store(value, place), number)
        return context.get_dummy_value()

    @intrinsic
    def element(typing, address, i, value):
        return types.void(types.int64, types.int64, kind), generate

    return element


def store_by_chance(arithmetic: str, number: int, shift: int) -> Any:
    """store(address, i, value, draw): a bfloat16, rounded up where the draw's 16 bits say so.

    shift: which 16 of the draw's 32 bits
    """
    kind, computed = _COMPUTED[arithmetic]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        value = _upper_half(builder, _by_chance(builder, given[2], given[3], shift, computed))
        place = _place(builder, _INT16, given[0], given[1])
        _marked(builder, builder.store(value, place), number)
        return context.get_dummy_value()

    @intrinsic
    def element(typing, address, i, value, draw):
        return types.void(types.int64, types.int64, kind, types.uint32), generate

    return element


def load_half(number: int, *, is_high: bool) -> Any:
    """load(address, j): one of the two bfloat16 in word j of array `number`, as float32.

    A word of 32 bits is elements 2 j (low) and 2 j + 1 (high): both are widened without a shuffle.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _place(builder, _INT32, given[0], given[1])
        both = _marked(builder, builder.load(place), number)
        return builder.bitcast(_high(builder, both) if is_high else _raised(builder, both), _FLOAT)

    @intrinsic
    def half(typing, address, j):
        return types.float32(types.int64, types.int64), generate

    return half


def store_halves(number: int) -> Any:
    """store(address, j, low, high): both bfloat16 of word j, rounded to the nearest."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        low, high = (_to_nearest(builder, value, _FLOAT) for value in given[2:])
        _store_both(builder, given, low, high, number)
        return context.get_dummy_value()

    @intrinsic
    def halves(typing, address, j, low, high):
        return types.void(types.int64, types.int64, types.float32, types.float32), generate

    return halves


def store_halves_by_chance(number: int, shift: int) -> Any:
    """store(address, j, low, high, draw of low, draw of high): each as `store_by_chance` has it."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pairs = ((given[2], given[4]), (given[3], given[5]))
        low, high = (_by_chance(builder, value, draw, shift, _FLOAT) for value, draw in pairs)
        _store_both(builder, given, low, high, number)
        return context.get_dummy_value()

    @intrinsic
    def halves(typing, address, j, low, high, low_draw, high_draw):  # noqa: PLR0917  (Numba asks for one argument a value)
        values = (types.float32, types.float32, types.uint32, types.uint32)
        return types.void(types.int64, types.int64, *values), generate

    return halves


@intrinsic
def draw(typing, key, i):
    """32 random bits of element i under a key: counted, not drawn (a bijective mix of both)."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x = builder.add(builder.trunc(given[1], _INT32), given[0])
        for shift, factor in MIX:
            x = builder.xor(x, builder.lshr(x, ir.Constant(_INT32, shift)))
            x = builder.mul(x, ir.Constant(_INT32, factor))
        return builder.xor(x, builder.lshr(x, ir.Constant(_INT32, 16)))

    return types.uint32(types.uint32, types.int64), generate


@intrinsic
def word(typing, address, i):
    """The int64 number i behind an address."""
    return types.int64(types.int64, types.int64), _plain_load(_INT64)


@intrinsic
def number(typing, address, i):
    """The float64 number i behind an address."""
    return types.float64(types.int64, types.int64), _plain_load(_DOUBLE)


@intrinsic
def put(typing, address, i, value):
    """Write the float64 number i behind an address."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(given[2], _place(builder, _DOUBLE, given[0], given[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float64), generate


@intrinsic
def put_word(typing, address, i, value):
    """Write the int64 number i behind an address."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.store(given[2], _place(builder, _INT64, given[0], given[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def take(typing, address):
    """The next number of a counter that all threads share."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = builder.inttoptr(given[0], _INT64.as_pointer())
        return builder.atomic_rmw("add", place, ir.Constant(_INT64, 1), "monotonic")

    return types.int64(types.int64), generate


def exact(operation: str, arithmetic: str) -> Any:
    """An addition or subtraction that no fast-math flag may rearrange (Kahan's sum needs it)."""
    kind, _ = _COMPUTED[arithmetic]
    flags = ("nsz",)  # Numba gives the kernel's flags to every instruction that has none

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        write = {"add": builder.fadd, "subtract": builder.fsub}[operation]
        return write(*given, flags=flags)

    @intrinsic
    def element(typing, a, b):
        return kind(kind, kind), generate

    return element


def rounded(dtype: str, arithmetic: str) -> Any:
    """rounded(x): x as it will read back after it was stored."""
    kind, computed = _COMPUTED[arithmetic]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        stored = _narrowed(builder, given[0], dtype, computed)
        return _widened(builder, stored, dtype, computed)

    @intrinsic
    def element(typing, x):
        return kind(kind), generate

    return element


def _plain_load(kind: ir.Type) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_place(builder, kind, given[0], given[1]))

    return generate


def _place(builder: Any, kind: ir.Type, address: Any, i: Any) -> Any:
    start = builder.inttoptr(address, kind.as_pointer())
    return builder.gep(start, [i], inbounds=True)


def _widened(builder: Any, value: Any, dtype: str, computed: ir.Type) -> Any:
    """A stored value in the arithmetic's type."""
    if dtype == "bfloat16":
        value = builder.bitcast(_raised(builder, builder.zext(value, _INT32)), _FLOAT)
    elif _STORED[dtype] is computed:
        return value
    elif dtype == "float64":
        return builder.fptrunc(value, computed)
    return value if value.type is computed else builder.fpext(value, computed)


def _narrowed(builder: Any, value: Any, dtype: str, computed: ir.Type) -> Any:
    """A computed value as it is stored, rounded to the nearest, ties to even."""
    stored = _STORED[dtype]
    if stored is computed:
        return value
    if dtype == "float64":
        return builder.fpext(value, stored)
    if dtype != "bfloat16":
        return builder.fptrunc(value, stored)
    return _upper_half(builder, _to_nearest(builder, value, computed))


def _to_nearest(builder: Any, value: Any, computed: ir.Type) -> Any:
    """32 bits whose upper half is the value as bfloat16, rounded to the nearest, ties to even."""
    bits = _bits(builder, value, computed)
    odd = builder.and_(builder.lshr(bits, ir.Constant(_INT32, 16)), ir.Constant(_INT32, 1))
    up = builder.add(bits, builder.add(odd, ir.Constant(_INT32, 0x7FFF)))
    is_nan = builder.fcmp_unordered("uno", value, value)
    return builder.select(is_nan, ir.Constant(_INT32, 0x7FC00000), up)


def _by_chance(builder: Any, value: Any, draw: Any, shift: int, computed: ir.Type) -> Any:
    """32 bits whose upper half is the value as bfloat16, rounded up where the draw says so."""
    chance = builder.lshr(draw, ir.Constant(_INT32, shift))
    chance = builder.and_(chance, ir.Constant(_INT32, 0xFFFF))
    return builder.add(_bits(builder, value, computed), chance)


def _store_both(builder: Any, given: Any, low: Any, high: Any, number: int) -> None:
    """Write the upper halves of two 32 bits as one word."""
    low = builder.lshr(low, ir.Constant(_INT32, 16))
    both = builder.or_(low, _high(builder, high))
    place = _place(builder, _INT32, given[0], given[1])
    _marked(builder, builder.store(both, place), number)


def _bits(builder: Any, value: Any, computed: ir.Type) -> Any:
    single = value if computed is _FLOAT else builder.fptrunc(value, _FLOAT)
    return builder.bitcast(single, _INT32)


def _raised(builder: Any, bits: Any) -> Any:
    return builder.shl(bits, ir.Constant(_INT32, 16))


def _high(builder: Any, bits: Any) -> Any:
    return builder.and_(bits, ir.Constant(_INT32, 0xFFFF0000))


def _upper_half(builder: Any, bits: Any) -> Any:
    return builder.trunc(builder.lshr(bits, ir.Constant(_INT32, 16)), _INT16)


def _marked(builder: Any, instruction: Any, array: int) -> Any:
    """The load or store, marked as one of array `array` and of no other."""
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "arrays of a kernel")])
    scopes = [
        module.add_metadata([ir.MetaDataString(module, f"array {k}"), domain])
        for k in range(MOST_ARRAYS)
    ]
    others = [scope for k, scope in enumerate(scopes) if k != array]
    instruction.set_metadata("alias.scope", module.add_metadata([scopes[array]]))
    instruction.set_metadata("noalias", module.add_metadata(others))
    stored = instruction.operands[0] if instruction.opname == "store" else instruction
    if isinstance(stored.type, ir.IntType):
        instruction.align = 2  # bfloat16, alone or two in a word
    return instruction
