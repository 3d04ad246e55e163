"""Conditions on figures, written as text: read once, evaluated without `eval`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from nissl.errors import NisslError, UnknownName

__all__ = ["holds"]

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "min": min, "max": max}


def holds(rule: str, measured: Mapping[str, Any], null: Mapping[str, Any]) -> bool:
    """Say whether figures meet a condition.

    Parameters
    ----------
    rule : str
        Names of `measured`, ``null.NAME``, numbers, ``+ - * /``, comparisons, ``and``, ``or``,
        ``not``, ``abs``, ``min`` and ``max``.
    measured, null : mapping
        The figures by name.

    Returns
    -------
    bool
        Whether the condition is met.

    Raises
    ------
    NisslError
        The rule is something else than a condition, or cannot be evaluated.
    UnknownName
        It names a figure that is not there.

    Examples
    --------
    >>> holds("gain > 2 * null.gain and p < 0.01", {"gain": 0.3, "p": 0.001}, {"gain": 0.1})
    True
    """
    try:
        value = _value(ast.parse(rule.strip(), mode="eval").body, measured, null)
    except NisslError:
        raise
    except (SyntaxError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise NisslError(
            f"the rule cannot be evaluated: {error}", where=rule, do="nissl.rules.holds says how"
        ) from error
    if not isinstance(value, bool):
        raise NisslError(
            f"the rule gives {value!r}, not true or false", where=rule, do="end it in a comparison"
        )
    return value


def _value(node: ast.AST, measured: Mapping[str, Any], null: Mapping[str, Any]) -> Any:
    def value(part: ast.AST) -> Any:
        return _value(part, measured, null)

    match node:
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            return constant
        case ast.Name(id=name):
            return _figure(name, measured, "")
        case ast.Attribute(value=ast.Name(id="null"), attr=name):
            return _figure(name, null, "null.")
        case ast.BoolOp(op=op, values=parts):
            # Every part is evaluated, so that a misspelt figure never hides behind the first.
            truths = [bool(value(part)) for part in parts]
            return all(truths) if isinstance(op, ast.And) else any(truths)
        case ast.UnaryOp(op=op, operand=part) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value(part))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value(left), value(right))
        case ast.Compare(left=left, ops=ops, comparators=rights):
            values = [value(part) for part in (left, *rights)]
            pairs = zip(ops, values[:-1], values[1:], strict=True)
            return all(OPERATORS[type(op)](a, b) for op, a, b in pairs if _known(op))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(value(part) for part in args))
    raise NisslError(
        f"a rule cannot contain '{ast.unparse(node)}'",
        do="use figures, numbers, + - * /, comparisons, and, or, not, abs, min, max",
    )


def _known(op: ast.cmpop) -> bool:
    if type(op) not in OPERATORS:
        raise NisslError("a rule compares by < <= > >= == !=", do="write it with one of these")
    return True


def _figure(name: str, figures: Mapping[str, Any], prefix: str) -> Any:
    if name not in figures:
        raise UnknownName("figure", prefix + name, [prefix + known for known in figures])
    return figures[name]
