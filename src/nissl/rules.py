"""Rules of claims: conditions on figures, written as text and evaluated without `eval`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nissl.errors import NisslError, UnknownName

__all__ = ["holds", "primary_figure"]

# Bounds on what a rule may cost, far above what a reader would follow.
MAX_LENGTH = 500
MAX_COMPARISONS = 3

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
    tree = _parsed(rule)
    try:
        value = _value(tree, measured, null)
    except NisslError:
        raise
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise NisslError(
            f"the rule cannot be evaluated: {error}", where=rule, do="nissl.rules.holds says how"
        ) from error
    if not isinstance(value, bool):
        raise NisslError(
            f"the rule gives {value!r}, not true or false", where=rule, do="end it in a comparison"
        )
    return value


def primary_figure(rule: str) -> str:
    """Return the one figure that a rule is about: the first that it names.

    Parameters
    ----------
    rule : str
        A condition as `holds` reads it.

    Returns
    -------
    str
        The figure's name.

    Raises
    ------
    NisslError
        The rule names no figure, has more than three comparisons, or one of them is not about the
        primary figure: it names neither the figure nor its null, nor is it on its p-value (``p``,
        ``q``) or on what belongs to it by name (``FIGURE_p``).

    Examples
    --------
    >>> primary_figure("gain > null.gain + 0.1 and gain > gain_of_random and p < 0.01")
    'gain'
    """
    tree = _parsed(rule)
    figures = [name for name in _named(tree) if not name.startswith("null.")]
    if not figures:
        raise NisslError("the rule names no figure", where=rule, do="name one of `measured`")
    primary = figures[0]
    conditions = list(_conditions(tree))
    n_comparisons = sum(len(n.ops) for n in ast.walk(tree) if isinstance(n, ast.Compare))
    n_comparisons += sum(not isinstance(n, ast.Compare) for n in conditions)
    if n_comparisons > MAX_COMPARISONS:
        raise NisslError(
            f"the rule has {n_comparisons} comparisons",
            where=rule,
            do=f"choose the figure that is the paper's claim and at most {MAX_COMPARISONS} "
            "comparisons of it; report the other figures without a rule",
        )
    for condition in conditions:
        named = [name.removeprefix("null.") for name in _named(condition)]
        about = all(n in ("p", "q") or n.startswith(primary + "_") for n in named)
        if primary not in named and not about:
            raise NisslError(
                f"'{ast.unparse(condition)}' is not about '{primary}', the rule's primary figure",
                where=rule,
                do=f"compare '{primary}' in it, or a figure of its own such as '{primary}_p'",
            )
    return primary


def named_figures(rule: str) -> list[str]:
    """Figures that a rule names, in its order; those of the null as ``null.NAME``."""
    return _named(_parsed(rule))


def _named(tree: ast.AST) -> list[str]:
    names: dict[tuple[int, int], str] = {}
    for node in ast.walk(tree):  # from outside inwards: `null.gain` before its `null`
        match node:
            case ast.Attribute(value=ast.Name(id="null"), attr=name):
                names[node.lineno, node.col_offset] = f"null.{name}"
            case ast.Name(id=name) if name not in FUNCTIONS:
                names.setdefault((node.lineno, node.col_offset), name)
    return list(dict.fromkeys(names[place] for place in sorted(names)))


def _conditions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what `and`, `or` and `not` join."""
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                yield from _conditions(part)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            yield from _conditions(part)
        case _:
            yield node


def _parsed(rule: str) -> ast.expr:
    # Before parsing: the parser's own memory and recursion grow with the text.
    if len(rule) > MAX_LENGTH:
        raise NisslError(
            f"the rule has {len(rule):,} characters",
            where=rule[:60] + "...",
            do=f"write it in at most {MAX_LENGTH}",
        )
    try:
        return ast.parse(rule.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NisslError(
            f"the rule cannot be read: {error}", where=rule, do="nissl.rules.holds says how"
        ) from error


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
            return OPERATORS[type(op)](_number(value(left)), _number(value(right)))
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


def _number(value: Any) -> float:
    # A text or a list times a number would be as long as the number says.
    if not isinstance(value, int | float):
        raise NisslError(
            f"a rule reckons with numbers, not with a {type(value).__name__}",
            do="use + - * / on numbers only",
        )
    return value


def _known(op: ast.cmpop) -> bool:
    if type(op) not in OPERATORS:
        raise NisslError("a rule compares by < <= > >= == !=", do="write it with one of these")
    return True


def _figure(name: str, figures: Mapping[str, Any], prefix: str) -> Any:
    if name not in figures:
        raise UnknownName("figure", prefix + name, [prefix + known for known in figures])
    return figures[name]
