"""Do detectors of tokens erase what triggers them? Their output weights, read as tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, TooFewSamples, UnknownName
from nissl.methods import method
from nissl.statistics import Finding, Test, against_null

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["erasing"]

Array = NDArray[Any]
LEAST = 5  # detectors without which their triggers cannot be permuted


@method(system=160)
def erasing(net: Network, found: Finding, *, test: Test = Test()) -> Finding:
    """Measure how far each detector of tokens writes against the tokens that trigger it.

    What a detector adds to the stream when it fires (its output weights, with the sign of its
    activity there and the norms on the way folded in) is multiplied by the unembedding. Its score
    is the logit of its trigger in deviations of its logits over the vocabulary: below zero, it
    erases. The null permutes the triggers of all detectors: other tokens that are as frequent, and
    as easily detected.

    Parameters
    ----------
    net : Network
        The network of the finding.
    found : Finding
        Of `ngram`.
    test : Test
        Draws (999 permutations of triggers), tail, correction ("bh", its own), seed.

    Returns
    -------
    Finding
        One row for each detector of tokens: ``unit``, ``trigger_logit`` (the score), ``effect``,
        ``null_mean``, ``null_sd``, ``p`` (two-sided), ``q``, ``layer``,
        ``trigger``, ``triggers`` and ``place`` (the share of the vocabulary that is suppressed more
        than the trigger). Its provenance holds the mean over detectors: ``mean``, ``null_mean``,
        ``mean_p`` (one-sided, of erasing), ``share_negative`` and ``null_share_negative``.

    Raises
    ------
    TooFewSamples
        There are fewer than five detectors.
    NisslError
        The network has no unembedding.
    UnknownName
        The finding is not one of `ngram`.

    Notes
    -----
    Source: Voita, Ferrando and Nalmpantis 2023, section 4.4: for over 80% of token detectors of OPT
    the logit is negative. The null is ours: logits of frequent tokens are correlated.

    Examples
    --------
    >>> import pandas as pd, torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.network import Network
    >>> _ = torch.manual_seed(0)
    >>> config = LlamaConfig(vocab_size=40, hidden_size=16, intermediate_size=6,
    ...                      num_hidden_layers=1, num_attention_heads=2)
    >>> net = Network(LlamaForCausalLM(config))
    >>> head = net.unembedding
    >>> net.model.model.layers[0].mlp.down_proj.weight.data[:] = -head[:6].T
    >>> units = [f"blocks.0.mlp.neurons[{i}]" for i in range(6)]
    >>> table = pd.DataFrame({"unit": units, "layer": 0, "kind": "token", "trigger": range(6),
    ...                       "triggers": "", "sign": 1, "covered": 1.0})
    >>> bool((erasing(net, Finding(table, "ngram", "none")).table["trigger_logit"] < -2).all())
    True
    """
    from nissl.network.sites.weights import folded_unembedding

    for name in ("kind", "trigger", "sign"):
        if name not in found.table:
            raise UnknownName("column", name, [str(c) for c in found.table.columns])
    test = test.own(correction="bh")
    test.require(null=(None,))
    table = found.table[found.table["kind"] == "token"].reset_index(drop=True)
    if len(table) < LEAST:
        raise TooFewSamples(
            f"{len(table)} detectors of tokens are too few to permute their triggers",
            where=str(found.provenance.get("network", "")),
            do=f"find at least {LEAST}: read more text, or relax `coverage` of ngram",
        )
    unembedding = folded_unembedding(net)
    if unembedding is None:
        raise NisslError(f"{net.name} has no unembedding", do="use a language model with a head")
    logits, place = _logits(net, table, unembedding)
    rng = np.random.default_rng(test.seed)
    n = len(table)
    rows = np.arange(n)
    draws = logits[rows, np.stack([rng.permutation(n) for _ in range(test.draws(999))])]
    made = against_null(
        logits[rows, rows],
        draws,
        units=list(table["unit"]),
        score="trigger_logit",
        method="erasing",
        null="triggers permuted over detectors",
        least_p=1 / n,
        test=test,
    )
    mean, drawn = logits[rows, rows].mean(), draws.mean(axis=1)
    about: dict[str, str | int | float] = {
        "network": net.name,
        "seed": test.seed,
        "n_detectors": n,
        "mean": float(mean),
        "null_mean": float(drawn.mean()),
        "mean_p": float((1 + (drawn <= mean).sum()) / (1 + len(drawn))),
        "share_negative": float((logits[rows, rows] < 0).mean()),
        "null_share_negative": float((draws < 0).mean()),
    }
    more = {name: table[name].to_numpy() for name in ("layer", "trigger", "triggers")}
    return made.assign(about, **more, place=place)


def _logits(net: Network, table: pd.DataFrame, unembedding: Any) -> tuple[Array, Array]:
    """Return each detector's standardised logits of all triggers, and the place of its own.

    Both as arrays: shape (n_detectors, n_detectors) and (n_detectors,).
    """
    from nissl.network import site_of_unit
    from nissl.network.sites.weights import folded_weights

    triggers = table["trigger"].to_numpy(int)
    logits, place = np.empty((len(table), len(table))), np.empty(len(table))
    addresses = [site_of_unit(unit) for unit in table["unit"]]
    for site in dict.fromkeys(site for site, _ in addresses):
        rows = np.flatnonzero([s == site for s, _ in addresses])
        index = [addresses[row][1] for row in rows]
        write = folded_weights(net, site).write[index].to(unembedding)
        whole = (write @ unembedding.T).double().cpu().numpy()
        whole *= table["sign"].to_numpy()[rows, None]
        spread = whole.std(axis=1, keepdims=True)
        whole = (whole - whole.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
        logits[rows] = whole[:, triggers]
        own = whole[np.arange(len(rows)), triggers[rows]]
        place[rows] = (whole < own[:, None]).mean(axis=1)
    return logits, place
