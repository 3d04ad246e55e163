"""Operand patterns: which pattern of the operands and the result of a sum a unit answers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.recording import aggregate
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, Test, permutation_test

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["operand_patterns"]

LEAST = 3  # problems that have a pattern, and that have not


@method(system=206)
def operand_patterns(
    rec: Recording, variables: Sequence[str], *, test: Test | None = Test(), progress: bool = True
) -> Finding:
    """Name for each unit the pattern of whole numbers that its activity goes with most.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity on problems of arithmetic, of either sign; those of the same numbers are averaged.
    variables : sequence of str
        Sample coordinates: operands and result. A pattern is a value, range or residue of one, or
        that two are equal or of one parity.
    test : Test or None
        Draws (1,000), tail, correction over units, seed. The null: activity is dealt to problems
        at random; every draw has its own best pattern.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: its ``pattern``, which ``DataFrame.eval`` reads, and the ``match``,
        the correlation of activity with having it; p, q.

    Raises
    ------
    NisslError
        Variables are not whole numbers, or no pattern divides the problems.

    Notes
    -----
    Source: Nikankin et al. 2025, section 4; correlation and null are ours.

    Examples
    --------
    >>> operand_patterns(rec, ["first", "second", "result"]).significant()  # doctest: +SKIP
    """
    problems = aggregate(rec, by=variables)
    numbers = {name: coordinate(problems, name) for name in variables}
    size = problems.sizes["sample"]
    named: dict[bytes, Any] = {}  # the first of patterns that the same problems have
    for pattern, has in _patterns(numbers):
        if LEAST <= has.sum() <= size - LEAST:
            named.setdefault(has.tobytes(), (pattern, _standard(1.0 * has)))
    if not named or any(x.dtype.kind not in "iu" for x in numbers.values()):
        raise NisslError("no patterns of whole numbers here", do="give more problems, or integers")
    patterns, shapes = map(np.asarray, zip(*named.values(), strict=True))

    def match(values: NDArray[Any], dealt: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((shapes[:, dealt.astype(int)] @ _standard(values)).max(0))

    order = np.arange(float(size))
    how: Any = {"test": test, "method": "operand_patterns", "progress": progress}
    found = permutation_test(problems, order, score=match, exchange=order, **how)
    best = np.argmax(shapes @ _standard(problems.values), axis=0)
    of = dict(zip(coordinate(problems, "unit", "unit"), patterns[best], strict=True))
    return found.assign(pattern=found.table["unit"].map(of))


def _patterns(numbers: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each pattern and which problems have it, ranges last."""
    for name, x in numbers.items():
        yield from ((f"{name} == {value}", x == value) for value in np.unique(x))
        yield from ((f"{name} % {m} == {r}", x % m == r) for m in (2, 3, 4, 5) for r in range(m))
    for (name, x), (other, y) in combinations(numbers.items(), 2):
        yield f"{name} == {other}", x == y
        yield f"{name} % 2 == {other} % 2", x % 2 == y % 2
    for name, x in numbers.items():
        for low, high in combinations(np.unique(x), 2):
            yield f"{low} <= {name} <= {high}", (low <= x) & (x <= high)


def _standard(x: NDArray[Any]) -> NDArray[Any]:
    """Return samples without their mean, of length 1 in each unit."""
    x = x - x.mean(0, dtype=np.float64)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=0), 1e-300))
