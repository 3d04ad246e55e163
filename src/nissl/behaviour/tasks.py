"""Tasks that are ready: indirect object, agreement, facts, greater-than and one-digit sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.behaviour.known_facts import require_facts
from nissl.behaviour.prompts import first_tokens, token_ids
from nissl.behaviour.task import HALVES, Task, make_task
from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.network import Network

__all__ = ["agreement", "fact_recall", "greater_than", "indirect_object", "sums"]

Row = dict[str, Any]
Rows = Callable[[Sequence[str]], Iterator[Row]]
TRIED = 4  # pairs that are made for each that is wanted

NAMES = (
    "Mary John Tom Anna Sarah Paul James Emma Peter Lucy David Laura Mark Alice Robert Jane "
    "Michael Kate William Susan George Helen Henry Julia Daniel Rachel Thomas Maria Andrew "
    "Linda Simon Ruth"
)
STORIES = (
    "When {} and {} went to the store, {} gave a drink to",
    "After {} and {} had lunch at the school, {} handed a book to",
    "While {} and {} were working in the office, {} passed a letter to",
    "Then {} and {} met in the garden, and {} offered a flower to",
)
NOUNS = (
    "key book car house tree river flower table door bird horse dog cat picture boat letter "
    "teacher student doctor king girl boy friend star cloud road bridge plane song"
)
BETWEEN = ("near", "behind", "beside", "with")
EVENTS = (
    "war siege trial voyage famine drought strike project dispute revolt campaign journey reign "
    "crisis exhibition partnership"
)
CENTURIES = (15, 16, 17, 18)
SHOWN = "4 + 1 = 5\n0 + 3 = 3\n2 + 6 = 8\n"


def indirect_object(
    net: Network, *, n: int = 64, seed: int = 0, batch_size: int = 64, progress: bool = True
) -> Task:
    """Make pairs in which the one of two people who was named once is to be named.

    Parameters
    ----------
    net : Network
        A language model.
    n : int
        Pairs wanted, half of them in each half.
    seed : int
        Of the draw.
    batch_size : int
        Prompts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Task
        The corrupted prompt repeats the other name. Labels are ``story``, ``order`` ("ABB" or
        "BAB"), ``object`` and ``subject``; the halves share no name.

    Raises
    ------
    TooFewSamples
        The network answers too few rightly.

    Notes
    -----
    Source: Wang et al. 2023.

    Examples
    --------
    >>> indirect_object(net).items["text"].iloc[0]  # doctest: +SKIP
    'When Mary and John went to the store, John gave a drink to'
    """

    def rows(names: Sequence[str]) -> Iterator[Row]:
        for a, b in permutations(names, 2):
            for number, story in enumerate(STORIES):
                for order, two in (("ABB", (a, b)), ("BAB", (b, a))):
                    yield {
                        "text": story.format(*two, b),
                        "corrupted": story.format(*two, a),
                        "answer": f" {a}",
                        "wrong": f" {b}",
                        "story": number,
                        "order": order,
                        "object": a,
                        "subject": b,
                    }

    given = _in_halves(NAMES.split(), rows, n, seed)
    return make_task(
        net, given, name="indirect object", n=n, batch_size=batch_size, progress=progress
    )


def agreement(
    net: Network, *, n: int = 64, seed: int = 0, batch_size: int = 64, progress: bool = True
) -> Task:
    """Make pairs in which a verb agrees with a noun, and not with the one that stands between.

    Parameters
    ----------
    net, n, seed, batch_size, progress
        As in `indirect_object`.

    Returns
    -------
    Task
        The corrupted prompt has the noun in the other number. Labels are ``number`` (of the noun),
        ``between`` (of the other), ``noun`` and ``other``; the halves share no noun.

    Raises
    ------
    TooFewSamples
        The network answers too few rightly.

    Notes
    -----
    Source: Linzen et al. 2016; as pairs, Finlayson et al. 2021.

    Examples
    --------
    >>> agreement(net).items["text"].iloc[0]  # doctest: +SKIP
    'The keys near the table'
    """

    def rows(nouns: Sequence[str]) -> Iterator[Row]:
        for noun, other in permutations(nouns, 2):
            for word in BETWEEN:
                for ending, number in (("", "singular"), ("s", "plural")):
                    for tail, between in (("", "singular"), ("s", "plural")):
                        text, turned = (
                            f"The {noun}{e} {word} the {other}{tail}"
                            for e in (ending, "" if ending else "s")
                        )
                        right, wrong = (" is", " are") if not ending else (" are", " is")
                        yield {
                            "text": text,
                            "corrupted": turned,
                            "answer": right,
                            "wrong": wrong,
                            "number": number,
                            "between": between,
                            "noun": noun,
                            "other": other,
                        }

    given = _in_halves(NOUNS.split(), rows, n, seed)
    return make_task(net, given, name="agreement", n=n, batch_size=batch_size, progress=progress)


def fact_recall(
    net: Network,
    facts: pd.DataFrame | None = None,
    *,
    labels: str = "relation",
    n: int = 64,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = True,
) -> Task:
    """Make pairs of facts of one kind that lend each other their subjects.

    Parameters
    ----------
    net : Network
        A language model.
    facts : DataFrame, optional
        Columns ``text``, ``answer``, ``subject`` and `labels`; by default the capitals, languages
        and continents of ``nissl.read("relations")``.
    labels : str
        The column that names the kind of fact.
    n, seed, batch_size, progress
        As in `indirect_object`.

    Returns
    -------
    Task
        The corrupted prompt asks for another subject. Other columns are kept as labels; the halves
        share no subject.

    Raises
    ------
    TooFewSamples
        The network answers too few rightly, or few prompts are of one length.

    Examples
    --------
    >>> fact_recall(net).items["text"].iloc[0]  # doctest: +SKIP
    'The official language of Peru is'
    """
    if facts is None:
        from nissl.specimens.relations import relations

        facts = relations()
        facts = facts[facts[labels].isin(["capital", "language", "continent"])]
    require_facts(facts, ("text", "answer", "subject", labels))
    facts = facts.assign(length=[len(ids) for ids in token_ids(net, facts["text"])])

    def rows(subjects: Sequence[str]) -> Iterator[Row]:
        own = facts[facts["subject"].isin(subjects)]
        for _, alike in own.groupby([labels, "length"]):
            records: Any = alike.to_dict("records")
            for one, other in permutations(records, 2):
                if one["answer"] != other["answer"]:
                    yield one | {"corrupted": other["text"], "wrong": other["answer"]}

    given = _in_halves(list(facts["subject"].unique()), rows, n, seed)
    given = given.drop(columns="length")
    return make_task(net, given, name="fact recall", n=n, batch_size=batch_size, progress=progress)


def greater_than(
    net: Network, *, n: int = 64, seed: int = 0, batch_size: int = 64, progress: bool = True
) -> Task:
    """Make pairs in which the year at which something ended must be after that at which it began.

    Parameters
    ----------
    net, n, seed, batch_size, progress
        As in `indirect_object`.

    Returns
    -------
    Task
        Of a network that reads single digits the answers are the third digits above that of the
        first year, of others its last two digits; wrong are those below. The corrupted prompt
        begins with the year 02 of the century, after which all is right. Labels are ``event``,
        ``century`` and ``year``; the halves share no event. The metric is the difference of
        probabilities.

    Raises
    ------
    TooFewSamples
        The network answers too few rightly.
    NisslError
        Its tokenizer reads years in other pieces.

    Notes
    -----
    Source: Hanna et al. 2023, where years are two tokens.

    Examples
    --------
    >>> greater_than(net).items["text"].iloc[0]  # doctest: +SKIP
    'The war lasted from the year 1742 to the year 17'
    """
    encode = net.require_tokenizer().encode
    whole, begun = (encode(f"the year {y}", add_special_tokens=False) for y in ("1742", "17"))
    if whole[: len(begun)] != begun:
        raise NisslError(
            f"'the year 1742' does not go on from 'the year 17': {net.tokens(whole)}",
            where=net.name,
            do="take another task: this one needs years read by single digits or in pairs",
        )
    width = len(net.tokens(whole)[len(begun)])  # 1 for "4", 2 for "42"
    endings = [f"{number:0{width}d}" for number in range(10**width)]

    def rows(events: Sequence[str]) -> Iterator[Row]:
        for event in events:
            for century in CENTURIES:
                for year in range(12, 93, 10):
                    at = endings.index(str(year)[:width])
                    text, corrupted = (
                        f"The {event} lasted from the year {century}{y} to the year {century}"
                        for y in (year, "02")
                    )
                    yield {
                        "text": text,
                        "corrupted": corrupted,
                        "answer": tuple(endings[at + 1 :]),
                        "wrong": tuple(endings[:at]),
                        "event": event,
                        "century": century,
                        "year": year,
                    }

    given = _in_halves(EVENTS.split(), rows, n, seed)
    return make_task(
        net,
        given,
        name="greater than",
        n=n,
        metric="probability_difference",
        batch_size=batch_size,
        progress=progress,
    )


def sums(
    net: Network, *, n: int = 64, seed: int = 0, batch_size: int = 64, progress: bool = True
) -> Task:
    r"""Make pairs of sums below ten, after three examples.

    Parameters
    ----------
    net, n, seed, batch_size, progress
        As in `indirect_object`.

    Returns
    -------
    Task
        The corrupted prompt has another second number. Labels are ``first``, ``second`` and
        ``pair`` (of numbers, in either order); the halves share no pair.

    Raises
    ------
    TooFewSamples
        The network answers too few rightly.

    Examples
    --------
    >>> sums(net).items["text"].iloc[0]  # doctest: +SKIP
    '4 + 1 = 5\n0 + 3 = 3\n2 + 6 = 8\n3 + 4 = '
    """
    # Where a digit and the space before it are two tokens, the space belongs to the prompt.
    apart = len(set(first_tokens(net, [" 3", " 5"]).tolist())) == 1
    space, begins = (" ", "") if apart else ("", " ")
    pairs = [f"{a} + {b}" for a in range(10) for b in range(a, 10 - a)]

    def rows(own: Sequence[str]) -> Iterator[Row]:
        inside = {tuple(map(int, pair.split(" + "))) for pair in own}
        inside |= {(b, a) for a, b in inside}
        asked = [(a, b) for a, b in sorted(inside) if f"{a} + {b} =" not in SHOWN]
        for (a, b), (c, d) in permutations(asked, 2):
            if a == c:
                yield {
                    "text": f"{SHOWN}{a} + {b} ={space}",
                    "corrupted": f"{SHOWN}{c} + {d} ={space}",
                    "answer": f"{begins}{a + b}",
                    "wrong": f"{begins}{c + d}",
                    "first": a,
                    "second": b,
                    "pair": f"{min(a, b)} + {max(a, b)}",
                }

    given = _in_halves(pairs, rows, n, seed)
    return make_task(net, given, name="sums", n=n, batch_size=batch_size, progress=progress)


def _in_halves(fillers: Sequence[str], rows: Rows, n: int, seed: int) -> pd.DataFrame:
    """Return pairs to be tried, in turn of each half, which is made of fillers of its own."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    order = rng.permutation(np.asarray(list(dict.fromkeys(fillers)), dtype=object))
    tables = []
    for half, own in zip(HALVES, np.array_split(order, 2), strict=True):
        table = pd.DataFrame(list(rows(own.tolist())))
        some = rng.permutation(len(table))[: TRIED * n // 2]
        tables.append(table.iloc[some].assign(half=half).reset_index(drop=True))
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)
