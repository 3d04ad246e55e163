"""Choices between a true and a false answer: built from facts, judged, and attributed to units.

Two facts of one relation lend each other their answers. Both are asked with the same two answers
on offer, in the same order: what is true of the one is false of the other. So over such a *couple*
every word is as often true as false, and as often offered first, and only the truth is left.
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.known_facts import require_facts
from nissl.behaviour.prompt_scorer import PromptScorer, ablations
from nissl.behaviour.prompts import first_tokens
from nissl.errors import NisslError, TooFewSamples
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from torch import Tensor

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["choice_attributions", "choices", "known_choices", "preferred"]

LARGEST_GAP = 0.1  # of integrated gradients, without a warning
FRAME = "{first} or{second}? Correct: {text}"


def choices(
    facts: pd.DataFrame,
    *,
    labels: str,
    frame: str = FRAME,
    n_couples: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Couple facts of one kind that lend each other their answers.

    Parameters
    ----------
    facts : DataFrame
        Columns ``text``, ``answer`` and `labels`; others are kept.
    labels : str
        The column that names the kind of fact; answers are swapped within a kind.
    frame : str
        How a choice is put: ``{first}`` and ``{second}`` are the answers, ``{text}`` the prompt.
    n_couples : int, optional
        Couples of each kind, at most; by default as many as there are.
    seed : int
        Which facts meet, and in which order answers are offered.

    Returns
    -------
    DataFrame, two rows a couple
        The columns of `facts`, with ``text`` the framed prompt; ``false`` (the other's answer),
        ``couple`` (its number) and ``true_first`` (whether the true answer is offered first).

    Raises
    ------
    NisslError
        No two facts of a kind differ in their answers.

    Examples
    --------
    >>> import pandas as pd
    >>> facts = pd.DataFrame({"text": ["The capital of Peru is", "The capital of Iran is"],
    ...                       "answer": [" Lima", " Tehran"], "relation": "capital"})
    >>> for text in choices(facts, labels="relation")["text"]:
    ...     print(text)
    Tehran or Lima? Correct: The capital of Iran is
    Tehran or Lima? Correct: The capital of Peru is
    """
    import pandas as pd

    require_facts(facts, ("text", "answer", labels))
    rng, rows, couple = np.random.default_rng(seed), [], 0
    for kind in facts[labels].unique():
        left = [
            dict(row)
            for _, row in facts[facts[labels] == kind]
            .sample(frac=1, random_state=int(rng.integers(2**31)))
            .iterrows()
        ]
        made = 0
        while left and made != n_couples:
            one = left.pop(0)
            # The next whose answer is another.
            at = next((i for i, x in enumerate(left) if x["answer"] != one["answer"]), None)
            if at is None:
                continue
            other = left.pop(at)
            for fact, false in ((one, other), (other, one)):
                text = frame.format(
                    first=one["answer"], second=other["answer"], text=fact["text"]
                ).strip()
                rows.append(
                    {
                        **fact,
                        "text": text,
                        "false": false["answer"],
                        "couple": couple,
                        "true_first": fact is one,
                    }
                )
            couple, made = couple + 1, made + 1
        if not made:
            raise NisslError(
                "no two facts differ in their answers", where=str(kind), do="give more facts of it"
            )
    return pd.DataFrame(rows)


def known_choices(
    net: Network,
    facts: pd.DataFrame,
    *,
    labels: str,
    frame: str = FRAME,
    n_couples: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Return couples of facts that a network judges rightly in both orders of the answers.

    Parameters
    ----------
    net : Network
        A language model.
    facts, labels, frame, n_couples, seed
        As for `choices`.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame, two rows a couple
        As from `choices`, without couples whose answers begin with the same token, or of which one
        fact is judged falsely in one of the orders.

    Raises
    ------
    TooFewSamples
        No couple is left.

    Examples
    --------
    >>> known_choices(net, facts, labels="relation")  # doctest: +SKIP
    """
    import pandas as pd

    asked, turned = (
        choices(facts, labels=labels, frame=one, n_couples=n_couples, seed=seed)
        for one in (frame, frame.format(first="{second}", second="{first}", text="{text}"))
    )
    begin = pd.Series(first_tokens(net, asked["answer"]))
    apart = begin.groupby(asked["couple"]).transform("nunique") == 2
    asked, turned = (each[apart].reset_index(drop=True) for each in (asked, turned))
    if len(asked):
        right = [preferred(net, each, progress=progress) > 0 for each in (asked, turned)]
        always = pd.Series(np.all(right, axis=0)).groupby(asked["couple"]).transform("all")
        asked = asked[always].reset_index(drop=True)
    if not len(asked):
        raise TooFewSamples(
            f"{net.name} judges no couple rightly in both orders",
            do="give other facts, or use a model that knows them",
        )
    return asked


def preferred(
    net: Network,
    asked: pd.DataFrame,
    *,
    without: Sequence[Sequence[str]] | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> NDArray[np.float64]:
    """Return how far a network prefers the true answer of each choice to the false one.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    asked : DataFrame
        Columns ``text``, ``answer`` and ``false`` (`choices`).
    without : sequence of sequence of str, optional
        Groups of units to silence, one group after another.
    batch_size : int
        Rows in a call: choices, times groups.
    progress : bool
        Show a bar.

    Returns
    -------
    array of float64, shape (n_choices,), or (n_groups, n_choices) where groups are given
        Log probability of the true answer less that of the false one, in nats, of the first token
        of each; above zero it judges rightly.

    Raises
    ------
    NisslError
        The answers of a choice begin with the same token, or the network has no tokenizer.

    Examples
    --------
    >>> preferred(net, choices(facts, labels="relation"))  # doctest: +SKIP
    array([6.1, 5.2])
    """
    false = _first_tokens(net, asked)[1]
    scorer = PromptScorer(net, list(asked["text"]), list(asked["answer"]))
    edits = None if without is None else ablations(without)
    return scorer.preferences(false, edits, batch_size=batch_size, progress=progress)


def choice_attributions(
    net: Network,
    asked: pd.DataFrame,
    *,
    sites: str = "mlp.neurons",
    steps: int = 20,
    batch_size: int = 128,
    progress: bool = True,
) -> Recording:
    """Attribute the preference for the true answer to units, by integrated gradients.

    Parameters
    ----------
    net : Network
        A language model.
    asked : DataFrame
        As for `preferred`; its other columns become sample coordinates.
    sites : str
        Where.
    steps : int
        Into how many parts the path is cut. Contributions fall short of the change of the
        preference by 36 to 258% of it with 2 (SmolLM2, by site), and by 0.4 to 2.6% with 20.
    batch_size : int
        Choices in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Recording, shape (n_choices, n_units)
        ``quantity`` is "attribution": what a unit's activity at the last position contributes to
        the logit of the true answer less that of the false one, as its layer's activity there
        grows from zero. Its attribute ``gap`` is by what share of the change of the preference
        contributions miss it, at the worst site (a warning above 0.1).

    Raises
    ------
    NisslError
        As for `integrated_gradients`.

    Notes
    -----
    Source: Li et al. 2025, after Dai et al. 2022, equation 3. The difference of attributions is
    the attribution of the difference. Logits stand for probabilities, whose gradient vanishes
    where an answer is certain; positions before the last are left out, since a network without its
    attention sink judges nothing.

    Examples
    --------
    >>> choice_attributions(net, choices(facts, labels="relation"))  # doctest: +SKIP
    """
    from nissl.network.gradients import integrated_gradients
    from nissl.network.record.recording_of import recording_of
    from nissl.network.run.caches import keeps_cache
    from nissl.network.run.calls import sequence_call

    true, false = _first_tokens(net, asked)
    encode = net.require_tokenizer().encode
    ids = [np.asarray(encode(text, add_special_tokens=True)) for text in asked["text"]]
    found = [site.name for site in net.find(sites)]
    takes = inspect.signature(type(net.model).forward).parameters
    parts: dict[str, list[NDArray[np.float32]]] = {site: [] for site in found}
    # Choices of about one length together: padding is computed, too.
    order = np.argsort([len(i) for i in ids], kind="stable")
    missed, gone = dict.fromkeys(found, 0.0), dict.fromkeys(found, 0.0)
    with progress_bar(
        f"Attributing {net.name}", total=len(ids), unit="choices", progress=progress
    ) as advance:
        for at in range(0, len(order), batch_size):
            rows = order[at : at + batch_size]
            call = sequence_call(net, [ids[row] for row in rows], padding="left")
            if "logits_to_keep" in takes:
                call.kwargs["logits_to_keep"] = 1
            # Where keys and values can be kept, the last position is computed alone.
            last = keeps_cache(net) and min(len(ids[row]) for row in rows) > 1
            begin: Any = 0.0
            if not last:
                begin = {site: _but_last(x) for site, x in net.run(call, sites=found).items()}
            prefers = _differences(true[rows], false[rows])

            def metric(logits: Tensor, prefers: Any = prefers) -> Tensor:
                # A sum over the batch gives each choice its own gradient.
                whole: Tensor = prefers(logits[:, -1].float()).sum()
                return whole

            made = integrated_gradients(
                net,
                call,
                sites=found,
                path="site",
                baseline=begin,
                steps=steps,
                metric=metric,
                from_position=-1 if last else None,
            )
            for site, gap in made.gap.items():
                parts[site].append(made[site][:, -1].float().cpu().numpy())
                missed[site] += abs(gap)
                gone[site] += abs(float(made.metric - made.baseline[site]))
            advance(len(rows))
    back = np.argsort(order, kind="stable")
    worst = max(missed[site] / max(gone[site], 1e-12) for site in found)
    if worst > LARGEST_GAP:
        warnings.warn(
            f"contributions miss the change of the preference by {worst:.0%} with {steps} steps; "
            "give more",
            stacklevel=2,
        )
    return recording_of(
        net,
        {site: np.concatenate(part)[back] for site, part in parts.items()},
        samples=asked.drop(columns=["text", "answer", "false"]),
        quantity="attribution",
        attrs={"network": net.name, "steps": steps, "gap": worst},
    )


def _but_last(x: Tensor) -> Tensor:
    """Return activity with nothing at the last position."""
    begin = x.detach().clone()
    begin[:, -1] = 0
    return begin


def _differences(true: NDArray[Any], false: NDArray[Any]) -> Callable[[Tensor], Tensor]:
    """Return the function from logits to how far each choice's true answer is preferred."""
    import torch

    from nissl.behaviour import logit_difference

    right, wrong = torch.from_numpy(true), torch.from_numpy(false)
    return lambda logits: logit_difference(logits, right, wrong)


def _first_tokens(net: Network, asked: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids that begin the true and the false answers, which must differ."""
    require_facts(asked, ("text", "answer", "false"))
    true, false = (first_tokens(net, asked[name]) for name in ("answer", "false"))
    same = np.flatnonzero(true == false)
    if len(same):
        row = asked.iloc[int(same[0])]
        raise NisslError(
            f"'{row['answer']}' and '{row['false']}' begin with the same token",
            do="leave such choices out: nothing tells their answers apart there",
        )
    return true, false
