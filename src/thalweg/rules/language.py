"""The language of rules: a plain Python function, checked and read into a small tree.

The language has numbers only: assignments to names, `+ - *`, comparisons, the primitives of
`_primitives.py`, and one `return` at the end. Whatever else a function holds is refused with its
line and a word on what to write instead. Backends and options work on the tree, never on the text.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from thalweg.errors import UsageError
from thalweg.rules._primitives import ARITIES


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on expressions: an operator ("add", "less", ...) or a primitive ("sqrt")."""

    operation: str
    arguments: tuple[Expression, ...]


Expression = str | float | Apply
"""A name, a number, or an operation."""


@dataclass(frozen=True, slots=True)
class Program:
    """A checked function: what it takes, its assignments in order, what it returns."""

    name: str
    inputs: tuple[str, ...]
    lines: tuple[tuple[str, Expression], ...]
    outputs: tuple[Expression, ...]


_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.USub: "negative",
    ast.Lt: "less",
    ast.Gt: "greater",
    ast.LtE: "less_equal",
    ast.GtE: "greater_equal",
}
_HINTS: dict[type[ast.AST], str] = {
    ast.Div: "write div(a, b)",
    ast.Pow: "write g * g, or pow(a, b) in the coefficients",
    ast.If: "write where(condition, a, b)",
    ast.IfExp: "write where(condition, a, b)",
    ast.AugAssign: "write m = m + ...",
    ast.Attribute: "use the bare names of the primitives",
    ast.Constant: "numbers are computed once a step: let the coefficients return it",
    ast.BoolOp: "nest two where(...)",
}
_LANGUAGE = f"a rule has assignments, + - *, comparisons, {', '.join(ARITIES)} and one return"


@cache
def read(function: Callable, *, is_coefficients: bool = False) -> Program:
    """The checked tree of a rule's function; coefficients may hold numbers and `pow` as well.

    Raises UsageError with the line and the reason where the function leaves the language, or has no
    source (it was typed at a prompt).
    """
    name = getattr(function, "__qualname__", repr(function))
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise UsageError(
            f"the source of {name} cannot be read, and kernels are made from it: "
            "define it with `def` in a file, not at a prompt"
        ) from None
    return _Reader(name, first, is_coefficients).program(_parsed(name, lines))


def _parsed(name: str, lines: list[str]) -> ast.stmt:
    """The function's tree; its first line counts as line 1."""
    if lines[0][:1].isspace():  # a method or inner function; comments may stand further out
        lines = [f"if 1: # {name}\n", *lines]
    try:
        tree = ast.parse("".join(lines)).body[0]
    except SyntaxError:
        raise UsageError(f"{name} is no function of its own: define it with `def`") from None
    if isinstance(tree, ast.If) and lines[0].startswith("if 1: #"):
        return ast.increment_lineno(tree.body[0], -1)
    return tree


class _Reader:
    """Reads one function; remembers where it stands and which names exist so far."""

    def __init__(self, name: str, first_line: int, is_coefficients: bool):
        self._name = name
        self._offset = first_line - 1
        self._is_coefficients = is_coefficients
        self._known: set[str] = set()

    def program(self, tree: ast.stmt) -> Program:
        if not isinstance(tree, ast.FunctionDef):
            raise self._refusal(tree, "it is not a plain function made with `def`")
        if tree.decorator_list:
            raise self._refusal(tree, "a decorator may make another function of it")
        inputs = tuple(self._inputs(tree))
        self._known |= set(inputs)
        body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
        if not body or not isinstance(body[-1], ast.Return) or body[-1].value is None:
            raise self._refusal(body[-1] if body else tree, "it must end with `return ...`")
        lines = tuple(map(self._line, body[:-1]))
        value = body[-1].value
        returned = value.elts if isinstance(value, ast.Tuple) else [value]
        return Program(tree.name, inputs, lines, tuple(map(self._expression, returned)))

    def _inputs(self, tree: ast.FunctionDef) -> Iterator[str]:
        given = tree.args
        if given.vararg or given.kwarg or given.kwonlyargs or given.defaults:
            raise self._refusal(tree, "it takes plain arguments only: no defaults, no *args")
        for argument in (*given.posonlyargs, *given.args):
            if argument.arg in ARITIES:
                raise self._refusal(argument, f"{argument.arg} is a primitive, not an argument")
            yield argument.arg

    def _line(self, line: ast.stmt) -> tuple[str, Expression]:
        if not isinstance(line, ast.Assign):
            raise self._refusal(line, self._unknown(line))
        target = line.targets[0]
        if len(line.targets) > 1 or not isinstance(target, ast.Name):
            raise self._refusal(line, "a line assigns to one name")
        value = self._expression(line.value)
        self._known.add(target.id)
        return target.id, value

    def _expression(self, node: ast.expr) -> Expression:
        match node:
            case ast.Name(id=name):
                if name not in self._known:
                    raise self._refusal(node, f"{name} is neither an argument nor assigned before")
                return name
            case ast.Constant(value=int() | float() as number) if self._is_coefficients:
                return float(number)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._apply(_OPERATORS[type(op)], left, right)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._apply("negative", operand)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return self._apply(_OPERATORS[type(op)], left, right)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(node, name, arguments)
        raise self._refusal(node, self._unknown(getattr(node, "op", node), node))

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr]) -> Expression:
        if name not in ARITIES:
            raise self._refusal(node, f"{name} is not among {', '.join(ARITIES)}")
        if name == "pow" and not self._is_coefficients:
            raise self._refusal(node, "pow is for the coefficients only")
        if len(arguments) != ARITIES[name]:
            raise self._refusal(node, f"{name} takes {ARITIES[name]} arguments")
        return self._apply(name, *arguments)

    def _apply(self, operation: str, *arguments: ast.expr) -> Apply:
        return Apply(operation, tuple(map(self._expression, arguments)))

    def _unknown(self, *nodes: ast.AST) -> str:
        hints = (_HINTS[type(node)] for node in nodes if type(node) in _HINTS)
        return next(hints, _LANGUAGE)

    def _refusal(self, node: ast.AST, reason: str) -> UsageError:
        text = ast.unparse(node).partition("\n")[0]
        line = self._offset + getattr(node, "lineno", 1)
        return UsageError(f"rule function {self._name}, line {line}: `{text}` is refused: {reason}")
