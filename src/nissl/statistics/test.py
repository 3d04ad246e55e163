"""Test: against which null scores are tested, by how many draws, and how they are corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from nissl.errors import NisslError, require_known
from nissl.statistics.nulls import Null

__all__ = ["ALTERNATIVES", "CORRECTIONS", "OWN", "TAILS", "Test"]

OWN = "own"  # the method's own
TAILS = ("permutation", "normal", "gpd")
ALTERNATIVES = ("two-sided", "greater", "less")
CORRECTIONS = ("max", "bh", "bonferroni")

SomeNull = TypeVar("SomeNull", bound=Null)


@dataclass(frozen=True)
class Test:
    """Against which null scores are tested, by how many draws, and how they are corrected.

    Every tested method takes one as ``test=``. Where a method says that it takes ``test=None``,
    that is how no null is asked for: its Finding then has scores, and no p.

    Parameters
    ----------
    n_permutations : int, optional
        Draws of the null. By default the method's own number: 1,000 or so where labels are
        permuted, 19 where each draw is a network, a basis or a run with other units ablated.
    null : Null, optional
        What is drawn: `PermutedLabels`, `CircularShift`, `PhaseRandomised`, `MatchedUnits`,
        `ReinitialisedNetwork`. By default the method's own null, which its documentation names.
    tail : {"own", "permutation", "normal", "gpd"}
        How p goes below 1 / (n_permutations + 1): not at all, or by a normal or a generalised
        Pareto tail fitted to the draws. Each row of a Finding names its tail. With 1,000 draws a
        p of 1e-6 may be 10 to 20 times too small, with 10,000 some 3 times: `statistics.tails` has
        the table. "own" is the method's own: "permutation" unless its documentation says so.
    correction : {"own", "max", "bh", "bonferroni"} or None
        Over everything that was searched: units, labels and layers together. "own" is the
        method's own: "max" unless its documentation says otherwise.
    alternative : {"two-sided", "greater", "less"}, optional
        Which scores are extreme; by default the method's own.
    smallest_p : float
        Labels whose null has too few arrangements to reach this p are refused.
    seed : int
        The seed of the draws.

    Raises
    ------
    UnknownName
        There is no such tail, correction or alternative.
    NisslError
        Fewer than two draws.

    Examples
    --------
    >>> Test(tail="gpd", correction="bh").draws(1000)
    1000
    """

    n_permutations: int | None = None
    null: Null | None = None
    tail: str = OWN
    correction: str | None = OWN
    alternative: str | None = None
    smallest_p: float = 0.05
    seed: int = 0

    __test__: ClassVar[bool] = False  # no class of tests, whatever pytest makes of its name

    def __post_init__(self) -> None:
        require_known("tail", self.tail, (OWN, *TAILS))
        if self.correction is not None:
            require_known("correction", self.correction, (OWN, *CORRECTIONS))
        if self.alternative is not None:
            require_known("alternative", self.alternative, ALTERNATIVES)
        if self.n_permutations is not None and self.n_permutations < 2:
            raise NisslError(f"{self.n_permutations} draws are too few", do="use at least 19")

    def own(self, *, tail: str = "permutation", correction: str | None = "max") -> Test:
        """Return the test with the method's own tail and correction where it asks for them.

        Parameters
        ----------
        tail : {"permutation", "normal", "gpd"}
            The method's own.
        correction : {"max", "bh", "bonferroni"} or None
            The method's own.

        Returns
        -------
        Test
            One that says what is done.

        Examples
        --------
        >>> Test(tail="normal").own(tail="gpd", correction="bh").correction
        'bh'
        """
        return replace(
            self,
            tail=tail if self.tail == OWN else self.tail,
            correction=correction if self.correction == OWN else self.correction,
        )

    def draws(self, usual: int) -> int:
        """Return the number of draws.

        Parameters
        ----------
        usual : int
            The method's own.

        Returns
        -------
        int
            That of the test, where it has one.
        """
        return usual if self.n_permutations is None else self.n_permutations

    def null_or(self, usual: SomeNull, kind: Any = None) -> SomeNull:
        """Return the null.

        Parameters
        ----------
        usual : Null
            The method's own.
        kind : type, optional
            What may take its place; by default nulls of its own class.

        Returns
        -------
        Null
            That of the test, where it has one.

        Raises
        ------
        NisslError
            The test's null is not of that kind.
        """
        if self.null is None:
            return usual
        if not isinstance(self.null, kind or type(usual)):
            raise NisslError(
                f"{self.null.name} answers another question: {self.null.question}",
                where="null",
                do=f"leave null out, or give one like {usual.name}",
            )
        return self.null

    def require(self, **known: Sequence[Any]) -> None:
        """Refuse options that a method cannot follow.

        Parameters
        ----------
        **known : sequence
            What each of the named options may be, besides the method's own.

        Raises
        ------
        NisslError
            An option is none of these.
        """
        for option, values in known.items():
            given = getattr(self, option)
            if given != OWN and given not in values:
                raise NisslError(
                    f"{option}={given!r} is not what this test can do",
                    where=option,
                    do=f"give test=Test({option}={values[0]!r}, ...)",
                )
