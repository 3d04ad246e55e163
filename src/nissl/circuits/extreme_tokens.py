"""Extreme tokens: attention sinks, value drains and residual peaks at the first token of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nissl.behaviour import token_ids
from nissl.circuits.head_scores import HEAD_SCORES, MARGINS, HeadRun, head_runs
from nissl.errors import TooFewSamples
from nissl.methods import method
from nissl.network import nodes_of
from nissl.recording import as_recording
from nissl.statistics import Finding, Test, paired_test

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["extreme_tokens", "sink_shares"]

PHENOMENA = ("sink", "value_drain", "residual_peak")


@method(system=115)
def extreme_tokens(
    net: Network,
    texts: Any,
    *,
    length: int = 64,
    test: Test = Test(),
    batch_size: int = 8,
    progress: bool = True,
) -> Finding:
    """Tell in each block by how much the first token stands out: sink, value drain, residual peak.

    Parameters
    ----------
    net : Network
        A language model with attention patterns.
    texts : texts or token ids
        Of each the first `length` tokens are read; shorter ones are left out.
    length : int
        Tokens of a text.
    test : Test
        Draws (999), tail, correction over blocks and phenomena, seed. The null: in each text the
        first token and what is beside it, and a margin more, trade places.
    batch_size : int
        Texts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each block (``unit``) and phenomenon (``label``), means over texts: "sink", the
        attention to the first token less that to the most attended other place, the mean over
        heads, margin 0.05; "value_drain", the natural logarithm of the norm of the shortest value
        of another token less that of the first, the mean over heads; "residual_peak", the logarithm
        of the norm of ``resid_post`` at the first token less that of the longest of others; margins
        ln 2. Columns ``excess``, ``first``, ``beside``, p, q, ``layer``.

    Raises
    ------
    TooFewSamples
        Fewer than eight texts are long enough.

    Notes
    -----
    Source: Guo et al. 2024, Active-dormant attention heads. What each is set beside is ours.

    Examples
    --------
    >>> extreme_tokens(net, texts).plot("curve", by=("layer", "label"))  # doctest: +SKIP
    """
    import pandas as pd

    each = []
    for run in _runs(net, texts, length, batch_size, progress):
        heads = (HEAD_SCORES[name](run) for name in PHENOMENA[:2])
        blocks = [[x.unflatten(1, (net.n_layers, -1)).mean(-1) for x in pair] for pair in heads]
        norms = torch.stack([x.norm(dim=-1).log() for (x,) in run.read("resid_post")], 1)
        pairs = [*blocks, [norms[..., 0], norms[..., 1:].amax(-1)]]
        each.append([torch.cat(side, 1) for side in zip(*pairs, strict=True)])
    first, beside = (torch.cat(side).double().numpy() for side in zip(*each, strict=True))
    layers = np.tile(np.arange(net.n_layers), 3)
    units = pd.DataFrame({"label": np.repeat(PHENOMENA, net.n_layers), "layer": layers})
    units["unit"] = units["label"] + " " + units["layer"].astype(str)
    margins = {**MARGINS, "residual_peak": MARGINS["value_drain"]}
    margin = units["label"].map(margins).to_numpy()
    # One scale for all: the correction goes over shares of attention and over logarithms.
    spread = np.maximum((first - beside - margin).std(0), 1e-9)
    how: Any = {"score": "excess", "method": "extreme_tokens", "test": test, "progress": False}
    found = paired_test(first / spread, (beside + margin) / spread, units=units, **how)
    difference = (first - beside).mean(0)
    columns = {"excess": difference, "effect": difference}
    columns |= {"first": first.mean(0), "beside": beside.mean(0)}
    names = [f"blocks.{layer}" for layer in layers]  # rows keep their order
    return found.assign({"network": net.name, "length": length}, unit=names, **columns)


@method(system=115)
def sink_shares(
    net: Network,
    texts: Any,
    *,
    length: int = 64,
    batch_size: int = 8,
    progress: bool = True,
) -> Recording:
    """Return how much each head attends to the first token of each text.

    Parameters
    ----------
    net : Network
        A language model with attention patterns.
    texts : DataFrame, texts or token ids
        Of each the first `length` tokens are read; shorter ones are left out.
    length, batch_size, progress
        As in `extreme_tokens`.

    Returns
    -------
    Recording, shape (n_texts, n_heads)
        The mean over the later half of its tokens; ``text`` numbers the texts, and other columns of
        a DataFrame become labels. A head that is dormant in texts of one kind and active in others
        is one whose share tells them apart: see `nissl.statistics.permutation_test`.

    Raises
    ------
    TooFewSamples
        No text is long enough.

    Notes
    -----
    Source: Guo et al. 2024.

    Examples
    --------
    >>> shares = sink_shares(net, texts)  # doctest: +SKIP
    >>> permutation_test(shares, "kind", score="mean_difference").top(3)  # doctest: +SKIP
    """
    import pandas as pd

    runs = _runs(net, texts, length, batch_size, progress, least=1)
    values = torch.cat([HEAD_SCORES["sink"](run)[0] for run in runs]).numpy()
    kept = [i for i, ids in enumerate(token_ids(net, texts)) if len(ids) >= length]
    samples = pd.DataFrame({"text": kept})
    if isinstance(texts, pd.DataFrame):
        labels = texts.drop(columns="text").iloc[kept].reset_index(drop=True)
        samples = samples.join(labels)
    nodes = nodes_of(net, "blocks.*.attn.z")
    units = nodes.table().assign(head=np.asarray([node.index for node in nodes]))
    return as_recording(values, samples=samples, units=units, quantity="attention")


def _runs(
    net: Network, texts: Any, length: int, batch_size: int, progress: bool, least: int = 8
) -> Iterator[HeadRun]:
    """Yield the beginnings of texts, some at a time."""
    ids = [row[:length] for row in token_ids(net, texts) if len(row) >= length]
    if len(ids) < least:
        raise TooFewSamples(
            f"{len(ids)} texts have {length} tokens, {least} are needed", do="give more, or length="
        )
    whole = torch.from_numpy(np.stack(ids))
    title = f"First tokens of {net.name}"
    return head_runs(net, whole, length, batch_size=batch_size, title=title, progress=progress)
