"""Families of neurons: what known labels explain of each unit's activity, and what its weights say.

Descriptions, not tests: they say of what kind the units are that a method has found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.recording import check, chunks
from nissl.recording.labels import coordinate, word_codes
from nissl.statistics import GroupMeans

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["families", "weight_signature"]


@method(system=131)
def families(
    rec: Recording, *, labels: Sequence[str], at_least: float = 0.3, other: str = "other"
) -> pd.DataFrame:
    """Sort units by the label that explains most of their variance.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity.
    labels : sequence of str
        Sample coordinates: the token, the one before, the position, the topic. Each has a few
        values, of codes or names; samples with a negative code are left out.
    at_least : float
        The share of variance below which a unit is of no family.
    other : str
        What those are called.

    Returns
    -------
    DataFrame, n_units rows
        ``unit``, for each label the share of variance between its groups (omega squared, around
        zero where there is nothing), and ``family``.

    Raises
    ------
    UnknownName
        There is no such coordinate.
    NisslError
        A label has one value only, or as many values as there are samples.

    Notes
    -----
    Source: Gurnee et al. 2024, section 4.2 (reduction in variance by families of tests); groups of
    a label in place of single binary tests are ours.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> letter = np.arange(200) % 4
    >>> values = rng.standard_normal((200, 2))
    >>> values[:, 1] += 4 * (letter == 3)
    >>> rec = as_recording(values, samples={"letter": letter})
    >>> families(rec, labels=["letter"])["family"].tolist()
    ['other', 'letter']
    """
    import pandas as pd

    check(rec)
    groups = {label: _groups(rec, label) for label in labels}
    gathered = {
        label: GroupMeans(rec.sizes["unit"], int(g.max()) + 1) for label, g in groups.items()
    }
    for chunk in chunks(rec):
        for label, means in gathered.items():
            own = groups[label][chunk.start : chunk.start + len(chunk.values)]
            means.update(chunk.values, chunk.start, groups=own)
    explained = {
        label: np.nan_to_num(means.result()["omega_squared"]) for label, means in gathered.items()
    }
    shares = np.stack(list(explained.values()))
    family = np.asarray(list(explained))[shares.argmax(axis=0)]
    return pd.DataFrame(
        {
            "unit": rec["unit"].values.astype(str),
            **explained,
            "family": np.where(shares.max(axis=0) >= at_least, family, other),
        }
    )


@method(system=131)
def weight_signature(net: Network, sites: str | Sequence[str] = "mlp.neurons") -> pd.DataFrame:
    """Describe neurons by their weights.

    Parameters
    ----------
    net : Network
        Whose input and output weights are known.
    sites : str or sequence of str
        Sites of neurons.

    Returns
    -------
    DataFrame, one row a neuron
        ``unit``, ``input_norm``, ``output_norm``, ``bias`` (of the input; 0 where there is none),
        ``in_out`` (cosine of input and output weights) and, where the network has an unembedding,
        ``vocabulary_variance``, ``vocabulary_skew`` and ``vocabulary_kurtosis`` of what the neuron
        adds to the logits: a high kurtosis is a neuron of few tokens, the skew says whether it
        raises or lowers them.

    Raises
    ------
    NisslError
        The site has no such weights.

    Notes
    -----
    Source: Gurnee et al. 2024, sections 4.1 and 5.

    Examples
    --------
    >>> from nissl.network import load
    >>> from nissl.training import small_language_model
    >>> net = load(small_language_model("gpt2", vocabulary=9, d_model=8, n_layers=1, n_heads=2))
    >>> weight_signature(net).shape
    (32, 8)
    """
    import pandas as pd
    import torch

    parts = []
    for site in net.find(sites):
        read, write = net.input_weights(site.name).float(), net.output_weights(site.name).float()
        table: dict[str, NDArray[Any]] = {
            "unit": np.asarray([f"{site.name}[{i}]" for i in range(len(write))]),
            "input_norm": read.norm(dim=1).numpy(force=True),
            "output_norm": write.norm(dim=1).numpy(force=True),
            "bias": _input_bias(net, site, len(write)),
            "in_out": torch.cosine_similarity(read, write, dim=1).numpy(force=True),
        }
        try:
            unembedding = net.unembedding.float()
        except NisslError:
            unembedding = None
        if unembedding is not None:
            table |= _vocabulary(write, unembedding)
        parts.append(pd.DataFrame(table))
    return pd.concat(parts, ignore_index=True)


def _groups(rec: Recording, label: str) -> NDArray[np.int64]:
    """Return the group of every sample; -1 for those that are in none."""
    values = word_codes(coordinate(rec, label))
    if values.dtype.kind not in "iub":
        raise NisslError(
            f"'{label}' holds {values.dtype}", where=label, do="give words or small integers"
        )
    groups = len(np.unique(values[values >= 0]))
    if not 2 <= groups < len(values):
        raise NisslError(
            f"'{label}' has {groups} values in {len(values)} samples, which make no groups",
            where=label,
            do="give a label whose values recur: bins of the position, frequent tokens",
        )
    return np.maximum(values.astype(np.int64), -1)


def _input_bias(net: Network, site: Any, n_units: int) -> NDArray[Any]:
    matrices = net.architecture.matrices if net.architecture is not None else None
    if matrices is None or site.layer is None:
        return np.zeros(n_units)
    bias = getattr(net.block(site.layer).get_submodule(matrices.read), "bias", None)
    return np.zeros(n_units) if bias is None else np.asarray(bias.float().numpy(force=True))


def _vocabulary(write: Any, unembedding: Any) -> dict[str, NDArray[Any]]:
    """Moments over the vocabulary of what each neuron adds to the logits."""
    effect = write @ unembedding.T
    effect = effect - effect.mean(dim=1, keepdim=True)
    variance = effect.square().mean(dim=1)
    safe = variance.clamp_min(1e-30)
    return {
        "vocabulary_variance": variance.numpy(force=True),
        "vocabulary_skew": (effect.pow(3).mean(dim=1) / safe**1.5).numpy(force=True),
        "vocabulary_kurtosis": (effect.pow(4).mean(dim=1) / safe**2).numpy(force=True),
    }
