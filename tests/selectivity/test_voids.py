"""Planted voids are found, in the phase they are in; among layers that are alike, nothing is."""

import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.selectivity import voids
from nissl.selectivity.voids import stream_norms, void_layers
from nissl.statistics import Test, rate

LAYERS, TEXTS, LENGTH, WIDTH = 8, 12, 10, 3
PROMPT = 6  # tokens of each text that are its prompt


def stream(changes: np.ndarray, texts: int = TEXTS):
    """A recording of the residual stream whose norms change by so much."""
    rng = np.random.default_rng(0)
    norms = 5 + np.cumsum(np.pad(changes, ((0, 0), (1, 0))), axis=1)
    turned = rng.standard_normal((*norms.shape, WIDTH))
    turned *= (norms / np.linalg.norm(turned, axis=-1))[..., None]
    site = ["blocks.0.resid_pre", *(f"blocks.{i}.resid_post" for i in range(changes.shape[1]))]
    length = len(changes) // texts
    return as_recording(
        turned.reshape(len(norms), -1),
        samples={
            "document": np.repeat(np.arange(texts), length),
            "phase": np.tile(np.where(np.arange(length) < PROMPT, "prompt", "response"), texts),
        },
        units={"site": np.repeat(site, WIDTH), "index": np.tile(np.arange(WIDTH), len(site))},
    )


@pytest.fixture
def planted():
    """Layer 3 does nothing to any token, layer 5 nothing to the response."""
    rng = np.random.default_rng(1)
    changes = rng.uniform(1, 2, (TEXTS * LENGTH, LAYERS))
    changes[:, 3] = 0
    response = np.arange(TEXTS * LENGTH) % LENGTH >= PROMPT
    changes[response, 5] = 0
    return stream(changes)


def test_it_finds_what_was_planted_where_it_was_planted(planted):
    found = voids(planted, alpha=0.3, labels="phase", test=Test(n_permutations=499))
    table = found.table.set_index(["label", "unit"])
    for label in ("prompt", "response"):
        assert table.loc[(label, "blocks.3"), ["share", "q"]].tolist() == [1.0, 0.002]
    assert table.loc[("response", "blocks.5"), "share"] == 1
    assert table.loc[("prompt", "blocks.5"), "share"] == 0
    differs = table.loc["response - prompt"]
    assert differs["share"].round(9).tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert differs.index[differs["q"] <= 0.05].tolist() == ["blocks.5"]
    assert table["n_tokens"].unique().tolist() == [72, 48, 120]
    alone = voids(planted, alpha=0.3).table
    assert alone["label"].unique() == ["all"]
    assert alone["share"].round(9).tolist() == [0, 0, 0, 1, 0, 0.4, 0, 0]
    assert not found.table.isna().any().any()


def test_the_rule_against_a_loop_written_out():
    rng = np.random.default_rng(2)
    norms = np.abs(rng.standard_normal((40, 9))) * 5
    for alpha in (0, 0.3, 0.8, 2):
        void = void_layers(norms, alpha=alpha)
        for token, size in enumerate(norms):
            seen = []
            for layer in range(8):
                change = size[layer + 1] - size[layer]
                least = alpha * (max(seen) - min(seen)) if seen else 0
                assert void[token, layer] == (change < least)
                seen.append(change)


def test_norms_are_of_each_layer_in_its_order(planted):
    norms = stream_norms(planted)
    assert norms.shape == (TEXTS * LENGTH, LAYERS + 1)
    assert norms[:, 4] == pytest.approx(norms[:, 3])
    assert norms[:, 0] == pytest.approx(np.full(len(norms), 5))


def test_layers_that_are_alike_are_not_told_apart():
    rng, p, differs = np.random.default_rng(3), [], []
    for repeat in range(150):
        # Tokens of a text hang together: each layer does about the same to all of them.
        changes = rng.standard_normal((TEXTS, 1, LAYERS)) + rng.standard_normal((TEXTS, 12, LAYERS))
        rec = stream(2 + changes.reshape(-1, LAYERS))
        table = voids(
            rec, alpha=0.8, labels="phase", test=Test(n_permutations=99, seed=repeat)
        ).table
        rows = table.set_index(["label", "unit"])["p"]
        p.append(rows["prompt", "blocks.5"])
        differs.append(rows["response - prompt", "blocks.5"])
    for found in (p, differs):
        assert rate(np.asarray(found), level=0.999).holds


def test_layers_that_are_never_voids_are_rows():
    changes = np.random.default_rng(4).uniform(1, 2, (TEXTS * LENGTH, LAYERS))
    table = voids(stream(changes), alpha=0.0).table
    assert table[["share", "p", "q"]].drop_duplicates().values.tolist() == [[0, 1, 1]]


def test_what_cannot_be_is_refused(planted):
    with pytest.raises(NisslError, match="did you mean 'document'"):
        voids(planted, document="documents")
    with pytest.raises(NisslError, match="did you mean 'phase'"):
        voids(planted, labels="phases")
    with pytest.raises(NisslError, match="one text gives no null"):
        voids(planted[:LENGTH])
    with pytest.raises(NisslError, match="a text has no token of 'response'"):
        voids(planted[: LENGTH + PROMPT], labels="phase")
    with pytest.raises(NisslError, match="each, in order"):
        voids(planted[:, [*range(3), *range(6, 9)]])
    with pytest.raises(NisslError, match="alpha=-1 is no share"):
        voids(planted, alpha=-1)
    planted.values[7, 9] = np.nan
    with pytest.raises(NisslError, match="token 7, after 3 layers"):
        voids(planted)
    with pytest.raises(NisslError, match="norms have shape"):
        void_layers([1.0, 2.0])
