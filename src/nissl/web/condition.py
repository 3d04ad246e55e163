"""Conditions on the columns of a table: what the list of the explorer is filtered by."""

from __future__ import annotations

import json
import re
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Condition", "conditions", "meets", "written"]

LONGEST = 2000  # characters of a filter
OPERATORS = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
#: A column, an operator and a value, up to the end or an ``and`` that another condition follows.
TERM = re.compile(
    r'\s*([\w.]+)\s*(<=|>=|!=|=|<|>|~)\s*("(?:[^"\\]|\\.)*"|.+?)\s*'
    r"(?:$|\band\b(?=\s*[\w.]+\s*(?:[<>=~]|!=)))",
    re.DOTALL,
)


class Condition(NamedTuple):
    """One condition of a filter.

    Parameters
    ----------
    column : str
        What is compared.
    operator : str
        One of ``=  !=  <  <=  >  >=  ~``; the last is for words that contain the value.
    value : str
        With what.
    exact : bool
        The value stood in quotation marks: the spaces around words count.

    Examples
    --------
    >>> Condition("kind", "=", "token").exact
    False
    """

    column: str
    operator: str
    value: str
    exact: bool = False


def conditions(where: str) -> list[Condition]:
    """Read a filter.

    Parameters
    ----------
    where : str
        Conditions joined by ``and``; a value that holds quotation marks, or begins or ends with a
        space, is written as JSON writes it.

    Returns
    -------
    list of Condition
        None for an empty filter.

    Raises
    ------
    NisslError
        It is not understood.

    Examples
    --------
    >>> [c.value for c in conditions("density < 0.01 and pair ~ bread and butter")]
    ['0.01', 'bread and butter']
    """
    if len(where) > LONGEST:
        raise NisslError(f"the filter has {len(where):,} characters", do=f"give {LONGEST:,}")
    found, at, where = [], 0, where.strip()
    while at < len(where):
        term = TERM.match(where, at)
        if term is None:
            raise NisslError(
                f"'{where[at:].strip()}' is not a condition",
                where="filter",
                do="write: density < 0.01",
            )
        column, operator, value = term.groups()
        exact = len(value) > 1 and value[0] == value[-1] == '"'
        try:
            found.append(Condition(column, operator, json.loads(value) if exact else value, exact))
        except ValueError:
            found.append(Condition(column, operator, value))
        at = term.end()
    return found


def written(column: str, operator: str, value: str) -> str:
    r"""Write a condition that `conditions` reads.

    Parameters
    ----------
    column, operator, value : str
        As of a `Condition`; spaces around the value do not count.

    Returns
    -------
    str
        In quotation marks where the value would be read otherwise.

    Examples
    --------
    >>> written("token", "=", " Paris"), written("token", "=", '"a"')
    ('token = Paris', 'token = "\\"a\\""')
    """
    plain = f"{column} {operator} {value.strip()}"
    wanted = [Condition(column, operator, value.strip())]
    if value.strip() and _read(plain) == wanted:
        return plain
    return f"{column} {operator} {json.dumps(value, ensure_ascii=False)}"


def _read(where: str) -> list[Condition]:
    try:
        return conditions(where)
    except NisslError:
        return []


def meets(column: pd.Series, condition: Condition) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which rows of a column meet a condition.

    Parameters
    ----------
    column : Series, n_rows
        Numbers, truths or words.
    condition : Condition
        The name of its column is not looked at.

    Returns
    -------
    array of bool, shape (n_rows,)
        What is missing meets nothing but ``!=``.

    Raises
    ------
    NisslError
        The operator does not go with the column, or the value is no number.

    Examples
    --------
    >>> import pandas as pd
    >>> meets(pd.Series([" Paris", "paris", ""]), Condition("token", "=", "Paris")).tolist()
    [True, False, False]
    """
    _, operator, value, exact = condition
    if operator == "~":
        said = column.astype(str).str.contains(value, case=False, regex=False)
        return said.to_numpy(dtype=bool, na_value=False)
    if column.dtype.kind in "iufb":
        with np.errstate(invalid="ignore"):
            held = OPERATORS[operator](column.to_numpy(dtype=float), _number(column, value))
        return np.asarray(held, dtype=bool)
    if operator not in ("=", "!="):
        raise NisslError(f"{column.name} holds words", where=operator, do="use =, != or ~")
    words = column.astype(str)
    same = (words if exact else words.str.strip()) == value
    found = same.to_numpy(dtype=bool, na_value=False)
    return found if operator == "=" else ~found


def _number(column: pd.Series, value: str) -> float:
    said = {"true": "1", "false": "0"}.get(value.lower(), value.removesuffix("°"))
    try:
        return float(said)
    except ValueError:
        raise NisslError(f"{column.name} holds numbers, and '{value}' is none") from None
