"""The tables of a network's atlas, made of what was accumulated while it read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.image_tables import image_rules, shown_images, test_labels
from nissl.atlas.images import labels_of
from nissl.atlas.tables import NETWORK_UNITS, UNITS, conform
from nissl.atlas.thumbnails import write_thumbnails
from nissl.atlas.unit_kinds import Rules, unit_kinds
from nissl.network.record.activation_threshold import SHARE

if TYPE_CHECKING:
    import pandas as pd

    from nissl.atlas.accumulators import Accumulators, SiteAccumulators
    from nissl.atlas.corpus import Corpus
    from nissl.atlas.unit_weights import PromotedTokens
    from nissl.atlas.vocabulary import Vocabulary
    from nissl.atlas.writer import AtlasWriter
    from nissl.network import Network, Plan
    from nissl.statistics import Test

__all__ = ["write_network_tables"]

Array = NDArray[Any]
PROMOTED = 5  # tokens at each end of a unit's output
N_NEIGHBOURS = 5  # of each unit
PREFERRED = 5  # tokens and pairs listed for a unit
NOT_ZERO = 1e-300  # p-values are bounds; what underflows is not zero


def write_network_tables(
    net: Network,
    plan: Plan,
    accumulators: Accumulators,
    out: Path,
    about: dict[str, Any],
    *,
    rules: Rules,
    test: Test,
    began: float,
    progress: bool,
) -> dict[str, Any]:
    """Make every table and write the atlas.

    Parameters
    ----------
    net : Network
        The network.
    plan : Plan
        What was read.
    accumulators : Accumulators
        What was accumulated; unchanged.
    out : Path
        The folder.
    about : dict
        Settings and provenance so far.
    rules : Rules
        The thresholds of the kinds.
    test : Test
        Of the language of documents.
    began : float
        When the whole began, by `time.perf_counter`.
    progress : bool
        Show bars.

    Returns
    -------
    dict
        What ``atlas.json`` holds.
    """
    from nissl.atlas.vocabulary import Vocabulary
    from nissl.atlas.writer import AtlasWriter

    words = Vocabulary(net)
    with AtlasWriter(out) as writer:
        labels = labels_of(plan)
        units, own, pair = _describe(net, accumulators, words, writer, labels, progress=progress)
        counts = units["count"].to_numpy() + units["nonfinite"].to_numpy()
        units["dead"] = (_active(accumulators) == 0) & (counts >= rules.dead_tokens)
        units = units.assign(**_languages(accumulators, test))
        units = units.assign(**_neighbours(accumulators, units, progress=progress))
        if accumulators.corpus is not None:
            units = units.assign(token_share=own, bigram_share=pair)
        units["kind"] = unit_kinds(units, rules, agreement=own, pair_agreement=pair)
        if not _asked(accumulators.corpus):
            units.loc[units["kind"] == "unexplained", "kind"] = "untested"
        if labels:
            units, more = test_labels(accumulators, labels, units, writer, test, progress=progress)
            about |= more
        if not plan.tokens:
            shown = shown_images(accumulators)
            about["pictures"] = write_thumbnails(net, plan, shown, writer.partial)
        columns = UNITS if accumulators.corpus is None else (*UNITS, *NETWORK_UNITS)
        writer.units(conform(units, columns))
        writer.arrays(accumulators)
        writer.vocabulary(words, accumulators.corpus)
        about |= _counts(plan, accumulators, units, rules)
        about["seconds"] = round(time.perf_counter() - began, 1)
        writer.about(about)
    return about


def _describe(
    net: Network,
    accumulators: Accumulators,
    words: Vocabulary,
    writer: AtlasWriter,
    labels: Mapping[str, Array],
    *,
    progress: bool,
) -> tuple[pd.DataFrame, Array, Array]:
    """Describe units site by site, writing what grows with them; and how far extremes agree."""
    import pandas as pd

    from nissl.atlas.unit_weights import PromotedTokens
    from nissl.progress import progress_bar

    promoted = PromotedTokens(net, n=PROMOTED, text=words)
    n_units = sum(g.summary.n_units for g in accumulators.sites.values())
    parts: list[pd.DataFrame] = []
    agreements = np.zeros((2, n_units))
    row = 0
    with progress_bar(
        "Describing units", total=n_units, unit="units", progress=progress
    ) as advance:
        for site, at_site in accumulators.sites.items():
            part = _statistics(site, accumulators.layers[site], at_site)
            here, addresses = slice(row, row + len(part)), part["unit"].to_numpy()
            if accumulators.corpus is not None:
                preferred, agreements[:, here] = _preferences(
                    at_site,
                    accumulators.corpus,
                    words,
                    writer,
                    n_units=n_units,
                    row=row,
                    addresses=addresses,
                )
                part = part.assign(**preferred)
            part = part.assign(**_weights(net, site, promoted, len(part)))
            writer.examples(at_site, addresses, row=row, labels=labels)
            parts.append(part)
            row += len(part)
            advance(len(part))
    return pd.concat(parts, ignore_index=True), agreements[0], agreements[1]


def _asked(corpus: Corpus | None) -> bool:
    """Say whether any token, pair or kind of document lies in enough documents to be tested."""
    return corpus is not None and bool(corpus.n_labels or len(set(corpus.language.tolist())) > 1)


def _active(accumulators: Accumulators) -> Array:
    """Return at how many samples each unit was active, shape (n_units,)."""
    return np.concatenate([g.summary.moments.active for g in accumulators.sites.values()])


def _statistics(site: str, layer: int, at_site: SiteAccumulators) -> pd.DataFrame:
    import pandas as pd

    found = at_site.summary.moments.result()
    n = at_site.summary.n_units
    names = ("count", "nonfinite", "first_nonfinite", "mean", "sd", "skew", "kurtosis")
    columns = {name: found[name] for name in (*names, "min", "max", "density")}
    table = pd.DataFrame(
        {
            "unit": [f"{site}[{i}]" for i in range(n)],
            "site": site,
            "layer": layer,
            "index": np.arange(n),
            **columns,
            "active_above": at_site.summary.moments.active_above,
        }
    )
    if at_site.corpus is not None:
        first = at_site.first.result()["mean"][0]
        share = at_site.positions.result()["omega_squared"]
        table = table.assign(first_position=first, position_share=share)
    return table


def _preferences(
    at_site: SiteAccumulators,
    corpus: Corpus,
    words: Vocabulary,
    writer: AtlasWriter,
    *,
    n_units: int,
    row: int,
    addresses: Array,
) -> tuple[dict[str, Any], tuple[Array, Array]]:
    """Find preferred tokens and pairs, write their tables, and return the best of each unit."""
    from nissl.atlas.vocabulary import joined

    n_tokens = len(corpus.tokens)
    spans = {"token": (0, n_tokens), "bigram": (n_tokens, corpus.n_labels)}
    columns: dict[str, Any] = {}
    agreements = []
    for set_number, (name, (first, last)) in enumerate(spans.items()):
        found = at_site.preference.result(k=PREFERRED, first=first, last=last, n_units=n_units)
        found["p"] = np.maximum(found["p"], NOT_ZERO)
        found["q"] = np.maximum(found["q"], NOT_ZERO)
        if name == "token":
            ids = _ids(corpus.tokens[:, None], found["label"])
            texts = words.texts(ids[..., 0])
            columns |= {"token": texts[:, 0], "token_id": ids[:, 0, 0]}
            more = {"token": texts, "token_id": ids[..., 0]}
        else:
            ids = _ids(corpus.bigrams, np.where(found["label"] < 0, -1, found["label"] - first))
            both = np.char.add(words.texts(ids[..., 0]), words.texts(ids[..., 1]))
            texts = np.array([joined(text) for text in both.ravel().tolist()]).reshape(both.shape)
            columns |= {"bigram": texts[:, 0]}
            columns |= {"bigram_first": ids[:, 0, 0], "bigram_second": ids[:, 0, 1]}
            more = {"bigram": texts, "first": ids[..., 0], "second": ids[..., 1]}
        columns |= {f"{name}_{key}": found[key][:, 0] for key in ("effect", "p", "q")}
        agreements.append(_agreement(at_site, corpus, found, set_number))
        writer.preferences(f"{name}s", {**found, **more}, addresses, row=row)
    return columns, (agreements[0], agreements[1])


def _ids(table: Array, labels: Array) -> Array:
    """Return ids of labels, shape (..., n_ids); -1 where there is no label."""
    if not len(table):
        return np.full((*labels.shape, table.shape[1]), -1)
    return np.where(labels[..., None] < 0, -1, table[np.maximum(labels, 0)])


def _agreement(
    at_site: SiteAccumulators, corpus: Corpus, found: dict[str, Array], set_number: int
) -> Array:
    """Share of the extremes, at the sign of the preference, that carry the preferred label."""
    assert corpus is not None
    extremes = at_site.summary.extremes
    down = found["effect"][:, 0] < 0
    places = np.where(down[:, None], extremes.bottom_places, extremes.top_places)
    label = np.where(found["label"][:, 0] < 0, -2, found["label"][:, 0])
    there = corpus.labels[np.maximum(places, 0), set_number] == label[:, None]
    share: Array = (there & (places >= 0)).mean(axis=1)
    return share


def _weights(net: Network, site: str, promoted: PromotedTokens, n_units: int) -> dict[str, Any]:
    from nissl.atlas.unit_weights import weight_columns
    from nissl.network.sites.weights import output_weights_of

    write = output_weights_of(net, site)
    return {**weight_columns(net, site, n_units), **promoted.columns(write, n_units)}


def _languages(accumulators: Accumulators, test: Test) -> dict[str, Any]:
    from nissl.atlas.document_preference import document_preference

    corpus = accumulators.corpus
    if corpus is None:
        return {}
    n = sum(g.summary.n_units for g in accumulators.sites.values())
    if not len(corpus.language):
        return {"language": "", "language_effect": np.full(n, np.nan), "language_q": np.ones(n)}
    means = np.concatenate(
        [g.documents.result()["mean"] for g in accumulators.sites.values()], axis=1
    )
    found = document_preference(means, corpus.language, test=test)
    return {
        "language": found["label"],
        "language_effect": found["effect"],
        "language_q": found["q"],
    }


def _neighbours(
    accumulators: Accumulators, units: pd.DataFrame, *, progress: bool
) -> dict[str, list[Any]]:
    from nissl.statistics import best_partners

    names: list[Any] = [[] for _ in range(len(units))]
    values: list[Any] = [[] for _ in range(len(units))]
    addresses = units["unit"].to_numpy(object)
    for sample in accumulators.samples.values():
        mine = [
            site for site, g in accumulators.sites.items() if np.shares_memory(g.sample, sample)
        ]
        rows = np.flatnonzero(units["site"].isin(mine))
        if len(sample) < 3:
            continue
        partners, r = best_partners(sample, k=N_NEIGHBOURS, progress=progress)
        for row, best, size in zip(rows, partners, r, strict=True):
            there = best >= 0
            names[row] = addresses[rows[best[there]]].tolist()
            values[row] = size[there].astype(float).tolist()
    return {"neighbours": names, "neighbour_r": values}


def _counts(
    plan: Plan, accumulators: Accumulators, units: pd.DataFrame, rules: Rules
) -> dict[str, Any]:
    from nissl.atlas.writer import versions

    corpus = accumulators.corpus
    kinds = units["kind"].value_counts()
    told = rules.words(share=SHARE)
    if corpus is None:
        told |= image_rules(plan)
    if corpus is not None:
        graded = (units["token_q"] < rules.q) | (units["bigram_q"] < rules.q)
    found: dict[str, Any] = {
        "n_units": len(units),
        "n_samples": max(int(key.split()[0]) for key in accumulators.samples),
        "kinds": {str(kind): int(number) for kind, number in kinds.items()},
        "rules": told,
        "thresholds": rules.settings(),
        "neighbours": f"Pearson correlation on {len(next(iter(accumulators.samples.values()))):,} "
        "samples drawn at random",
        **versions(),
        "date": time.strftime("%Y-%m-%d"),
    }
    lost = units["nonfinite"].to_numpy()
    if lost.any():
        first = units.loc[lost > 0].sort_values("first_nonfinite").iloc[0]
        found["nonfinite"] = (
            f"{int(lost.sum()):,} values of {int((lost > 0).sum()):,} units were not finite and "
            f"are left out; the first is {first['unit']} at sample {first['first_nonfinite']:,}"
        )
    if corpus is not None:
        found |= {
            "responding": int(graded.sum()),
            "n_tokens": len(corpus.token),
            "n_documents": len(np.unique(corpus.document)),
            "n_labels": {"tokens": len(corpus.tokens), "bigrams": len(corpus.bigrams)},
            "left_out": f"{int((~corpus.keep).sum()):,} first positions of windows",
            "null": (
                "labels shifted circularly in each document by a random amount; p by Chernoff's "
                "bound, times all units and labels searched"
            ),
        }
    else:
        found["n_items" if plan.tokens else "n_images"] = plan.n_items
    return found
