"""What gated neurons do to the directions they read: enrich, deplete, or write elsewhere.

A gated neuron has three weight vectors: what opens its gate, what it reads (its input weights) and
what it writes (its output weights). The cosines between them say whether it adds to the stream what
it found there, takes it away, or writes something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, require_known
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.selectivity.gated_classes import gated_classes
from nissl.statistics import Finding, Test

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from nissl.network import Network

__all__ = ["gated_function"]

Array = NDArray[np.floating[Any]]

NO_WEIGHTS = "no weights"  # the class of a neuron whose weights are zero
COSINES = (("cos_in_out", 0, 2), ("cos_gate_out", 1, 2), ("cos_gate_in", 1, 0))


@method(system=132)
def gated_function(
    net: Network,
    *,
    sites: str | Iterable[str] = "mlp.neurons",
    threshold: float = 0.5,
    fold: str = "before",
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Class every gated neuron by the cosines of its input, gate and output weights.

    The norm before the MLP is folded into the weights first. The null is a neuron whose three
    vectors belong to three different neurons of its layer, which keeps every vector and whatever
    directions a layer's weights have in common: the p-value of cos(in, out) comes from all such
    mismatched pairs of the layer, two-sided, by the +1 rule.

    Parameters
    ----------
    net : Network
        A language model with gated MLPs.
    sites : str or iterable of str
        ``mlp.neurons`` of all blocks, or of some.
    threshold : float
        Cosines beyond it, at either sign, count as the same direction.
    fold : {"before", "both"}
        Which norms are folded in: the one before the MLP, as the paper does, or also the one after
        it where there is one (Gemma), so that what is written is what enters the stream.
    test : Test
        Draws (200 other neurons of the layer, at most, with which each neuron's vectors are
        mismatched), correction ("bh", its own, or "bonferroni") over all neurons, seed.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row a neuron: ``unit``, ``layer``, ``index``, ``cos_in_out`` (the score), ``effect``
        (less the null mean), ``null_mean``, ``null_sd``, ``p``, ``q``, ``cos_gate_out``,
        ``cos_gate_in``, ``gated_class``, ``mismatched_class`` (of one mismatched neuron: what
        random weights of this layer would be called), and ``note``. Neurons with zero weights have
        cosine 0, p = 1, the class "no weights" and a note.

    Raises
    ------
    NisslError
        The MLPs have no gate, the sites no weights, a layer fewer than three neurons, or an option
        is out of its range.

    Notes
    -----
    Source: Gerstner and Schütze 2025, section 3, and the mismatched cosines of their code; p-values
    and their correction are ours. The scale of a norm after the MLP can differ by a thousand times
    between dimensions; ``fold="both"`` then leaves few cosines far from zero.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.network import Network
    >>> config = LlamaConfig(vocab_size=9, hidden_size=16, intermediate_size=20,
    ...                      num_hidden_layers=1, num_attention_heads=2)
    >>> net = Network(LlamaForCausalLM(config))
    >>> mlp = net.model.model.layers[0].mlp
    >>> mlp.down_proj.weight.data[:, 3] = mlp.up_proj.weight.data[3]
    >>> found = gated_function(net, progress=False)
    >>> found.top(1).units
    ['blocks.0.mlp.neurons[3]']
    """
    import pandas as pd

    from nissl.statistics import benjamini_hochberg, bonferroni

    test = test.own(correction="bh")
    test.require(
        null=(None,),
        tail=("permutation",),
        alternative=(None, "two-sided"),
        correction=("bh", "bonferroni"),
    )
    require_known("fold", fold, ("before", "both"))
    if not 0 < threshold < 1:
        raise NisslError(
            f"a cosine cannot lie beyond {threshold:g} at either sign",
            where="threshold",
            do="give a number between 0 and 1",
        )
    n_permutations = test.draws(200)
    names = [site.name for site in net.find(sites)]
    parts: list[pd.DataFrame] = []
    with progress_bar(
        "Comparing weights", total=len(names), unit="layers", progress=progress
    ) as advance:
        for number, name in enumerate(names):
            rng = np.random.default_rng([test.seed, number])
            vectors, silent = _directions(net, name, after=fold == "both")
            part = _layer(vectors, silent, threshold, n_permutations, rng)
            part.insert(0, "layer", net.find(name)[0].layer)
            part.insert(0, "unit", [f"{name}[{i}]" for i in range(len(part))])
            parts.append(part)
            advance(1)
    table = pd.concat(parts, ignore_index=True)
    correct = benjamini_hochberg if test.correction == "bh" else bonferroni
    tested = table["note"].to_numpy() == ""
    if tested.any():
        table.loc[tested, "q"] = correct(table["p"].to_numpy()[tested])
    about: dict[str, str | int | float] = {
        "network": net.name,
        "weights": net.weights_hash,
        "threshold": threshold,
        "fold": fold,
        "n_permutations": n_permutations,
        "correction": str(test.correction),
        "n_tests": int(tested.sum()),
        "seed": test.seed,
    }
    return Finding(
        table, "gated_function", "weights of different neurons of a layer", about, "cos_in_out"
    )


def _layer(
    vectors: list[Array],
    silent: NDArray[np.bool_],
    threshold: float,
    n_permutations: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Class and test the neurons of one layer."""
    import pandas as pd

    n = len(silent)
    own = {name: (vectors[a] * vectors[b]).sum(axis=1) for name, a, b in COSINES}
    # By shift s the neuron i has the output weights of neuron i + s.
    shifts = rng.permutation(n - 1)[:n_permutations] + 1
    mismatched = _mismatched(vectors[0], vectors[2], shifts, silent)
    p = _two_sided(own["cos_in_out"], mismatched)
    mean, sd = float(mismatched.mean()), float(mismatched.std())
    first, second = rng.permutation(n - 1)[:2] + 1
    mixed = [vectors[0], np.roll(vectors[1], -second, axis=0), np.roll(vectors[2], -first, axis=0)]
    other = {name: (mixed[a] * mixed[b]).sum(axis=1) for name, a, b in COSINES}
    return pd.DataFrame(
        {
            "index": np.arange(n),
            "cos_in_out": own["cos_in_out"],
            "effect": np.where(silent, 0.0, own["cos_in_out"] - mean),
            "null_mean": mean,
            "null_sd": sd,
            "p": np.where(silent, 1.0, p),
            "q": 1.0,  # corrected over all layers, later
            "cos_gate_out": own["cos_gate_out"],
            "cos_gate_in": own["cos_gate_in"],
            "gated_class": np.where(silent, NO_WEIGHTS, gated_classes(**own, threshold=threshold)),
            "mismatched_class": gated_classes(**other, threshold=threshold),
            "note": np.where(silent, "not tested: some of its weights are all zero", ""),
        }
    )


def _directions(net: Network, site: str, *, after: bool) -> tuple[list[Array], NDArray[np.bool_]]:
    """Return input, gate and output weights of length 1, and which neurons lack one of them."""
    from nissl.network.sites.weights import folded_weights

    weights = folded_weights(net, site, after=after)
    if weights.gate is None:
        raise NisslError(
            f"the MLPs of {net.name} have no gate",
            where=site,
            do="give a model with gated MLPs (Llama, Qwen, Mistral, Gemma)",
        )
    # Beyond float32, so that the cosine of a vector with itself is one.
    raw = [w.double().cpu().numpy() for w in (weights.read, weights.gate, weights.write)]
    if len(raw[0]) < 3:
        raise NisslError(
            f"{len(raw[0])} neurons are too few to be mismatched",
            where=site,
            do="give a layer with at least three neurons",
        )
    norms = [np.linalg.norm(w, axis=1, keepdims=True) for w in raw]
    units: list[Array] = [
        w / np.where(norm > 0, norm, 1.0) for w, norm in zip(raw, norms, strict=True)
    ]
    silent: NDArray[np.bool_] = np.min(norms, axis=0)[:, 0] == 0
    return units, silent


def _mismatched(
    read: Array, write: Array, shifts: NDArray[np.int64], silent: NDArray[np.bool_]
) -> Array:
    """Return cosines of neurons' input weights with other neurons' output weights."""
    cosines = read @ write.T
    rows = np.arange(len(read))
    columns = (rows + shifts[:, None]) % len(read)
    there = ~silent & ~silent[columns]
    found = cosines[rows, columns][there]
    # Where all but one neuron are silent nothing can be mismatched, and nothing is tested.
    return found if len(found) else np.zeros(1)


def _two_sided(scores: Array, null: Array) -> Array:
    """Return p-values of scores that share one null, by the +1 rule, for the nearer tail twice."""
    ordered = np.sort(null)
    below = np.searchsorted(ordered, scores, side="right")
    above = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return np.asarray(np.minimum(2 * (1 + np.minimum(below, above)) / (1 + len(ordered)), 1.0))
