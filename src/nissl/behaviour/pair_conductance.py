"""What each unit contributes to the score that a cross-encoder gives a pair, by conductance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nissl.behaviour.pairs import as_truth, by_length, check_pairs, encode_pairs, log_odds
from nissl.errors import require_known
from nissl.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["pair_conductance"]

Array = NDArray[np.float32]


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
    from nissl.network.record.recording_of import recording_of

    check_pairs(pairs)
    require_known("blank", blank, ("query", "pair"))
    names = [site.name for site in net.find(sites)]
    order = by_length(pairs)
    made: list[dict[str, Array]] = []
    with progress_bar(
        f"Integrating {net.name}", total=len(order), unit="pairs", progress=progress
    ) as advance:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            made.append(_batch(net, pairs.iloc[rows], names, blank, steps, window))
            advance(len(rows))
    back = np.argsort(order)
    about: dict[str, str | int] = {
        "network": net.name,
        "weights": net.weights_hash,
        "blank": blank,
        "steps": steps,
    }
    relevant = as_truth(pairs["relevant"].to_numpy(), "relevant")
    labels = {str(name): pairs[name] for name in pairs if name != "passage"}
    samples = {"document": np.arange(len(pairs)), **labels, "relevant": relevant}
    return {
        key: recording_of(
            net,
            {name: np.concatenate([one[name][part] for one in made])[back] for name in names},
            samples=samples,
            quantity=quantity,
            attrs=about,
        )
        for part, (key, quantity) in enumerate(
            (("conductance", "attribution"), ("size", "activity"))
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
