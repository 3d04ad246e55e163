"""Relevance neurons: what in a cross-encoder speaks for a passage that answers the query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.pairs import check_pairs, encode_pairs, log_odds
from nissl.errors import NisslError, TooFewSamples, UnknownName
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, PermutedLabels, Test, permutation_test

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["pair_conductance", "relevance"]

Array = NDArray[np.float32]


@method(system=146)
def relevance(
    rec: Recording,
    *,
    labels: str = "relevant",
    query: str = "query",
    test: Test | None = Test(),
    progress: bool = True,
) -> Finding:
    """Score every unit by how much more it contributes to relevant pairs than to others.

    Parameters
    ----------
    rec : Recording, shape (n_pairs, n_units)
        What each unit contributes to the score of each pair (`pair_conductance`).
    labels : str
        Sample coordinate that is true (or 1) where the passage is relevant.
    query : str
        Sample coordinate of the query; each has passages of both kinds.
    test : Test or None
        Null (which of a query's passages are relevant is permuted among them), draws (1,000), tail,
        correction over units, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: ``relevance``, the mean contribution to relevant pairs less that to
        others of their query, in the units of the score; effect, null mean, p and q of both sides.
        Above zero the unit speaks for relevant passages.

    Raises
    ------
    TooFewSamples
        There are fewer than two queries, or one has no relevant passage, or no other.
    NisslError
        A label is neither true nor false.

    Notes
    -----
    Source: Vast et al. 2024, section 3 (neuron integrated gradients of relevant and of other
    pairs). The null is ours: it asks whether a unit tells a query's passages apart, so that the
    mean contribution to the query's passages is taken off first.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> relevant = np.tile([True, False], 20)
    >>> contributions = rng.standard_normal((40, 5))
    >>> contributions[relevant, 2] += 3
    >>> samples = {"relevant": relevant, "query": np.repeat(np.arange(20), 2)}
    >>> relevance(as_recording(contributions, samples=samples), progress=False).significant().units
    ['unit[2]']
    """
    names = coordinate(rec, query)
    right = _truth(coordinate(rec, labels), labels)
    queries, kinds = np.unique(names, return_inverse=True)
    n_right, n_all = np.bincount(kinds, right), np.bincount(kinds)
    lonely = (n_right == 0) | (n_right == n_all)
    if len(queries) < 2 or lonely.any():
        raise TooFewSamples(
            "a query needs a relevant passage and another"
            if lonely.any()
            else "one query gives no null",
            where=f"{query} {queries[int(np.argmax(lonely))]}",
            do="give two queries at least, each with passages of both kinds",
        )
    # What a unit gives every passage of a query tells none of them from the others.
    values = np.asarray(rec.values, dtype=float)
    means = np.zeros((len(queries), values.shape[1]))
    np.add.at(means, kinds, values / n_all[kinds, None])
    null = PermutedLabels(exchange=query, how="within")
    found = permutation_test(
        rec.copy(data=values - means[kinds]),
        right,
        score="mean_difference",
        test=test and replace(test, null=test.null_or(null)),
        method="relevance",
        progress=progress,
    )
    return found.renamed("relevance").assign({"n_queries": len(queries)})


def pair_conductance(
    net: Network,
    pairs: pd.DataFrame,
    *,
    sites: str | Iterable[str] = "mlp.neurons",
    blank: Literal["query", "pair"] = "query",
    steps: int = 20,
    window: int | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> dict[str, Recording]:
    """Return what each unit contributes to a cross-encoder's score of each pair, by conductance.

    The score is `log_odds`. The path goes from the pair with its query masked, which no passage
    answers, to the pair.

    Parameters
    ----------
    net : Network
        A cross-encoder with a site ``embed``.
    pairs : DataFrame
        Columns ``query``, ``passage`` and ``relevant``; others become coordinates too.
    sites : str or iterable of str
        Where.
    blank : {"query", "pair"}
        Where padding tokens take the place of words at the beginning of the path. Special tokens
        stay.
    steps : int
        Parts of the path.
    window : int, optional
        Tokens of a pair; longer passages are cut. By default the model's context.
    batch_size : int
        Pairs in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    dict of str to Recording, each of shape (n_pairs, n_units)
        ``conductance``: the sum over the pair's tokens, in the units of the score. ``size``: mean
        absolute activity over the tokens, for `output_magnitude`.

    Raises
    ------
    NisslError
        A column is missing, the network has no padding token, or no gradient reaches a site.

    Notes
    -----
    Source: Vast et al. 2024, section 3, after Dhamdhere et al. 2019.

    Examples
    --------
    >>> pair_conductance(net, pairs)["conductance"]  # doctest: +SKIP
    """
    from nissl.recording import as_recording

    check_pairs(pairs)
    if blank not in ("query", "pair"):
        raise UnknownName("blank", str(blank), ("query", "pair"), do="choose query or pair")
    names = [site.name for site in net.find(sites)]
    order = np.asarray(
        np.argsort(pairs["query"].str.len() + pairs["passage"].str.len(), kind="stable")
    )
    made: list[dict[str, Array]] = []
    with progress_bar(
        f"Integrating {net.name}", total=len(order), unit="pairs", progress=progress
    ) as advance:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            made.append(_batch(net, pairs.iloc[rows], names, blank, steps, window))
            advance(len(rows))
    samples = {str(name): pairs[name].to_numpy() for name in pairs if name != "passage"}
    samples["relevant"] = _truth(pairs["relevant"].to_numpy(), "relevant")
    layers = [-1 if site.layer is None else site.layer for site in net.find(names)]
    widths = [made[0][name].shape[-1] for name in names]
    units = {
        "site": np.repeat(names, widths),
        "layer": np.repeat(layers, widths),
        "index": np.concatenate([np.arange(width) for width in widths]),
    }
    back = np.argsort(order)
    whole = np.concatenate([np.concatenate([b[n] for n in names], axis=-1) for b in made], axis=1)
    said: dict[str, str | int | float | bool] = {
        "network": net.name,
        "weights": net.weights_hash,
        "blank": blank,
        "steps": steps,
    }
    return {
        key: as_recording(
            values[back],
            samples={"document": np.arange(len(pairs)), **samples},
            units=units,
            quantity=quantity,
            attrs=said,
        )
        for key, quantity, values in zip(
            ("conductance", "size"), ("attribution", "activity"), whole, strict=True
        )
    }


def _batch(
    net: Network,
    pairs: pd.DataFrame,
    sites: list[str],
    blank: str,
    steps: int,
    window: int | None,
) -> dict[str, Array]:
    """Return each site's contributions and mean absolute activity, shape (2, n_pairs, n_units)."""
    import torch

    from nissl.network.gradients import integrated_gradients

    inputs, queries = encode_pairs(net, pairs, window=window)
    tokenizer = net.require_tokenizer()
    ids = inputs["input_ids"]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    away = torch.from_numpy(queries) if blank == "query" else ~special
    silent = {**inputs, "input_ids": ids.masked_fill(away, int(tokenizer.pad_token_id))}
    found = integrated_gradients(
        net,
        inputs,
        sites=sites,
        metric=lambda logits: log_odds(logits).sum(),
        start="embed",
        baseline=net.run(silent, sites="embed")["embed"],
        steps=steps,
    )
    mask = inputs["attention_mask"].to(net.device).unsqueeze(-1)
    out = {}
    for site in sites:
        gained, size = found[site], found.values[site].abs()
        if gained.ndim == 3:  # over the tokens of each pair
            gained, size = (gained * mask).sum(1), (size * mask).sum(1) / mask.sum(1)
        out[site] = torch.stack([gained, size]).float().cpu().numpy()
    return out


def _truth(labels: NDArray[Any], name: str) -> NDArray[np.bool_]:
    """Return labels as true and false."""
    given = np.asarray(labels)
    if not np.isin(given, [0, 1]).all():
        raise NisslError("a label is neither true nor false", where=name, do="give True or False")
    return given.astype(bool)
