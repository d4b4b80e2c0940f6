"""What goes into a model: rows of a table, pictures, or tokens."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

DIGIT = 256
"""A code is given as two inputs, high and low digit in this base: whole numbers that stay exact
where inputs are rounded to bfloat16.
"""


@dataclass(frozen=True, slots=True)
class Code:
    """A category with many levels among the inputs: its code, DIGIT * high + low.

    place: of the high digit among the inputs; the low one is next
    num_codes: one for each level, one for any other value, which stands last
    width: of the vector that is learnt for each
    """

    place: int
    num_codes: int
    width: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table: num_inputs numbers each, some of which are codes.

    numbers: places of the columns of numbers, which a model may spread
    """

    num_inputs: int
    codes: tuple[Code, ...] = ()
    numbers: tuple[int, ...] = ()
    words: ClassVar[str] = "rows of a table"


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of shape (n, channels, height, width)."""

    channels: int
    height: int
    width: int
    words: ClassVar[str] = "pictures of shape (n, channels, height, width)"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids, int64 of shape (n, length), 0 .. num_tokens - 1; id 0 fills up short ones.

    is_language: is the next token predicted at every place, and not one thing of the whole?
    length: of the samples that it is trained on; 0: not known
    """

    num_tokens: int
    is_language: bool = False
    length: int = 0
    words: ClassVar[str] = "token ids of shape (n, length)"


Inputs = Rows | Pictures | Tokens


def next_tokens(inputs: Inputs | None) -> int | None:
    """Tokens among which a language model tells the next one; None: it is no such model."""
    if isinstance(inputs, Tokens) and inputs.is_language:
        return inputs.num_tokens
    return None


def arguments_of(inputs: Inputs) -> dict[str, Any]:
    """What a function that makes a model can be told of its inputs, by name.

    num_inputs are a row's numbers, a picture's channels, or the tokens that there are.
    """
    if isinstance(inputs, Rows):
        return {"num_inputs": inputs.num_inputs}
    num_inputs = inputs.channels if isinstance(inputs, Pictures) else inputs.num_tokens
    return {"num_inputs": num_inputs, **asdict(inputs)}


def to_dict(inputs: Inputs) -> dict[str, Any]:
    """As plain values; codes and numbers of a table stand in its schema."""
    return {"kind": type(inputs).__name__.lower(), **asdict(inputs)}


def from_dict(values: dict[str, Any]) -> Inputs:
    """The inputs that `to_dict` wrote down."""
    kinds = {kind.__name__.lower(): kind for kind in (Pictures, Tokens)}
    rest = {name: value for name, value in values.items() if name != "kind"}
    return kinds[values["kind"]](**rest)
