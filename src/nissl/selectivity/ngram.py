"""Dead neurons, detectors of tokens and n-grams, and positional neurons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.selectivity.detectors import triggers
from nissl.selectivity.positional import position_test
from nissl.statistics import Finding, Test, benjamini_hochberg
from nissl.statistics.ngrams import Firings, read_ngrams

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from nissl.network import Network
    from nissl.recording import Chunk

__all__ = ["NgramRules", "describe", "ngram"]

Array = NDArray[Any]


@dataclass(frozen=True)
class NgramRules:
    """The thresholds of `ngram`.

    Parameters
    ----------
    active, firing : float
        Shares of the layer's output beyond which a neuron is active, and fires.
    most : int
        N-grams that a detector may have.
    coverage : float
        Share of an n-gram's occurrences, and of a neuron's firings, that a detector must reach.
    information : float
        Nats shared with position beyond which a neuron is positional.
    dead_tokens : int
        Tokens without which nothing is called dead.
    q : float
        Corrected p that detectors and positional neurons must reach as well.
    n_labels : tuple of int
        How many tokens, pairs and triples are counted: those in the most documents.
    min_documents : int
        N-grams in fewer documents are not counted.

    Raises
    ------
    NisslError
        A share is not above 0 and at most 1.

    Examples
    --------
    >>> NgramRules(most=2).coverage
    0.95
    """

    active: float = 0.01
    firing: float = 0.2
    most: int = 5
    coverage: float = 0.95
    information: float = 0.05
    dead_tokens: int = 100_000
    q: float = 0.01
    n_labels: tuple[int, ...] = (1000, 400, 200)
    min_documents: int = 5

    def __post_init__(self) -> None:
        for name in ("active", "firing", "coverage"):
            share = getattr(self, name)
            if not 0 < share <= 1:
                raise NisslError(
                    f"{name} is a share, not {share:g}", do="give a number above 0, at most 1"
                )


@method(system=160)
def ngram(
    net: Network,
    inputs: Any,
    *,
    sites: str | Iterable[str] = "mlp.neurons",
    rules: NgramRules = NgramRules(),
    test: Test = Test(),
    window: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Finding:
    """Say of every neuron whether it is dead, detects n-grams, or is positional.

    A neuron is **dead** if it is never active in at least 100,000 tokens. It **detects**
    tokens if it fires at 95% of the occurrences of at most five of them, and 95% of its firings are
    there; if not tokens then pairs, if not pairs then triples. It is **positional** if whether it
    is active shares more than 0.05 nats with the position in the window.

    Where the nonlinearity is no ReLU nothing is ever quite zero: a neuron is then active where
    |activity| x norm of its output weights exceeds a share of the layer's output, and fires where
    it exceeds a larger one.

    Parameters
    ----------
    net : Network
        A language model.
    inputs : texts, token ids, or DataFrame
        What it reads. Begin texts at random places: at the beginning of documents the words, too,
        depend on position.
    sites : str or iterable of str
        Names or globs.
    rules : NgramRules
        The thresholds.
    test : Test
        Of position: draws (999), tail ("gpd", its own), correction ("bh", its own), seed.
    window, batch_size : int, optional
        As for `nissl.network.record`.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row a neuron: ``unit``, ``layer``, ``index``, ``covered`` (the score: share of its
        firings at the n-grams it detects, or else at its five commonest tokens), ``effect`` (of the
        n-gram it prefers: its deviations within documents above its mean there), ``p`` and ``q`` of
        that, ``kind`` (dead, token, bigram, trigram, positional, other), ``density`` and
        ``firing`` (shares of samples), ``trigger`` (id of the last token of the n-gram that it
        detects and fires at most, or else prefers; -1 for none), ``triggers`` (text of those it
        detects), ``sign`` of its activity there, ``information`` (nats), ``position_p``,
        ``position_q``, and ``note``.

    Raises
    ------
    NisslError
        Too little text: no token in five documents.

    Notes
    -----
    Source: Voita, Ferrando and Nalmpantis 2023, sections 3 to 5, for OPT, whose ReLU is zero or
    not; the two shares of the layer's output are ours, and so is that a window's positions are
    counted in 51 stretches at most, which can only lose information. P-values, too: n-grams are
    shifted circularly in their documents (`nissl.statistics.preference`, a bound that errs on the
    large side, times all n-grams searched, and for q times all neurons), positions by
    `position_test`.

    Examples
    --------
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> from nissl.network import Network
    >>> config = LlamaConfig(vocab_size=12, hidden_size=8, intermediate_size=6,
    ...                      num_hidden_layers=1, num_attention_heads=2)
    >>> texts = np.random.default_rng(0).integers(3, 12, (20, 32)).tolist()
    >>> found = ngram(Network(LlamaForCausalLM(config)), texts, progress=False)
    >>> found.table["kind"].isin(["other", "token", "bigram", "trigram", "positional"]).all()
    np.True_
    """
    from nissl.network import plan_of, stream
    from nissl.network.record.activation_threshold import active_above
    from nissl.network.record.site_samples import grids_of

    test = test.own(tail="gpd", correction="bh")
    test.require(null=(None,), correction=("bh",))
    plan = plan_of(net, inputs, window=window, batch_size=batch_size).text("n-grams")
    special = getattr(net.tokenizer, "all_special_ids", ())
    samples = plan.samples()
    text = read_ngrams(
        np.asarray(samples["token"], np.int64),
        np.asarray(samples["document"], np.int64),
        np.asarray(samples["position"], np.int64),
        np.repeat(np.arange(plan.n_items), plan.new_tokens),
        n_labels=rules.n_labels,
        min_documents=rules.min_documents,
        special=special,
    )
    grids = grids_of(net, plan, sites)
    names = [grid.site.name for grid in grids]
    lows = active_above(net, names, plan, share=rules.active)
    gathered: dict[str, Firings] = {}
    for grid in grids:
        zero = np.zeros(grid.width), np.full(grid.width, -np.inf)
        above, below = lows.get(grid.site.name, zero)
        more = rules.firing / rules.active
        gathered[grid.site.name] = Firings(
            grid.width, text, active=(above, below), firing=(more * above, more * below)
        )

    def consume(chunk: Chunk) -> None:
        gathered[chunk.site].update(chunk.values, chunk.start)

    stream(net, plan, sites=names, consume=consume, progress=progress)
    layers = {grid.site.name: grid.site.layer for grid in grids}
    table = describe(gathered, layers, net.tokens, rules=rules, test=test)
    about: dict[str, str | int | float] = {
        "network": net.name,
        "weights": net.weights_hash,
        "text": plan.windows.fingerprint(),
        "n_tokens": int(text.keep.sum()),
        "n_ngrams": len(text.order),
        "active": rules.active,
        "firing": rules.firing,
        "most": rules.most,
        "coverage": rules.coverage,
        "n_permutations": test.draws(999),
        "seed": test.seed,
    }
    return Finding(table, "ngram", "n-grams shifted circularly within documents", about, "covered")


def describe(
    gathered: dict[str, Firings],
    layers: dict[str, int | None],
    texts: Any,
    *,
    rules: NgramRules,
    test: Test,
) -> pd.DataFrame:
    """Make the table of `ngram` from what was gathered at each site."""
    import pandas as pd

    n_units = sum(len(firings.fired) for firings in gathered.values())
    parts = []
    for number, (site, firings) in enumerate(gathered.items()):
        n, n_samples = len(firings.fired), int(firings.text.keep.sum())
        shared: Array = np.zeros(n)
        p: Array = np.ones(n)
        if firings.by_stretch is not None:
            own = replace(test, seed=test.seed + number)
            shared, p = position_test(*firings.stretches(), test=own)
        part = pd.DataFrame(
            {
                "unit": [f"{site}[{i}]" for i in range(n)],
                "layer": -1 if layers[site] is None else layers[site],
                "index": np.arange(n),
                **triggers(
                    firings, texts, n_units, most=rules.most, coverage=rules.coverage, q=rules.q
                ),
                "density": firings.active / max(n_samples, 1),
                "firing": firings.fired / max(n_samples, 1),
                "information": shared,
                "position_p": p,
            }
        )
        dead = (firings.active == 0) & (n_samples >= rules.dead_tokens)
        part.loc[dead, "kind"] = "dead"
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["position_q"] = benjamini_hochberg(table["position_p"].to_numpy())
    positional = (table["information"] > rules.information) & (table["position_q"] < rules.q)
    table.loc[positional & (table["kind"] == "other"), "kind"] = "positional"
    return table
