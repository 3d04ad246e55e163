"""Recovery: the truth recovers everything, chance what chance does, and noise nothing."""

import numpy as np
import pytest
import torch

from nissl import NisslError
from nissl.features import Schedule, sae
from nissl.network import LinearDictionary
from nissl.specimens.planted import planted_features
from nissl.testbeds import recovery

SCORES = ["recovered", "cosine", "precision", "recall", "f1"]
RANDOM = [f"random_{name}" for name in SCORES]


def trained(planted):
    """A small TopK dictionary of the first half."""
    how = Schedule(samples=512 * 300, batch_size=512, learning_rate=1e-2, cache=False)
    half = planted.activity[: len(planted.activity) // 2]
    return sae(half, n_features=128, k=3, kind="topk", schedule=how, progress=False)


@pytest.fixture(scope="module")
def zipf():
    return planted_features("zipf", n_samples=20_000, n_units=32, active=2.0)


@pytest.fixture(scope="module")
def noise():
    return planted_features("noise", n_samples=20_000, n_units=32, active=2.0)


def test_the_truth_recovers_everything(zipf) -> None:
    order = np.random.default_rng(0).permutation(64)
    sizes = zipf.features.values[:, order]
    table = recovery(zipf.directions[order], zipf, features=sizes)
    assert table["n"].tolist() == [64, 22, 21, 21]
    assert (table[["recovered", "precision", "recall", "f1"]] == 1).all(axis=None)
    assert table["cosine"].tolist() == pytest.approx([1, 1, 1, 1], abs=1e-5)
    assert table["f1"].min() > table["random_f1"].max()


def test_half_of_the_truth_recovers_half(zipf) -> None:
    table = recovery(-2 * zipf.directions[::2], zipf, features=-zipf.features.values[:, ::2])
    assert table.loc[0, ["recovered", "precision", "recall", "f1"]].tolist() == [0.5] * 4


def test_it_equals_the_slow_obvious_form(zipf) -> None:
    found = np.random.default_rng(5).standard_normal((40, 32)) + zipf.directions[:40] * 20
    activity, on = zipf.activity.values.astype(float), zipf.features.values > 0
    cosine = zipf.directions @ (found / np.linalg.norm(found, axis=1, keepdims=True)).T
    # Each of the first 40 features is nearest to its own noisy copy.
    assert (np.abs(cosine[:40]).argmax(1) == np.arange(40)).all()
    by_rate = recovery(found, zipf, n_bins=64)
    each = np.empty(64)
    each[np.argsort(zipf.features["rate"].values, kind="stable")] = by_rate["f1"][1:]
    assert (each[40:] == 0).all()
    f1 = []
    for i in range(0, 40, 8):
        score, best = activity @ found[i], (-1.0, 0.0)
        ranked = np.sort(score[:10_000])[::-1]
        for bar in (ranked[:6000] + ranked[1:6001]) / 2:
            claimed = score[:10_000] > bar
            both = (claimed & on[:10_000, i]).sum()
            best = max(best, (2 * both / (claimed.sum() + on[:10_000, i].sum()), bar))
        claimed, there = score[10_000:] >= best[1], on[10_000:, i]
        f1.append(2 * (claimed & there).sum() / (claimed.sum() + there.sum()))
    assert f1 == pytest.approx(each[0:40:8], abs=1e-9)


def test_random_directions_recover_what_the_null_says(zipf) -> None:
    drawn = np.random.default_rng(7).standard_normal((64, 32))
    table = recovery(drawn, zipf)
    assert np.abs(table[SCORES].values - table[RANDOM].values).max() < 0.1
    assert np.abs(table.loc[0, SCORES].values - table.loc[0, RANDOM].values).max() < 0.03
    assert table.loc[0, "recovered"] == 0


def test_a_trained_dictionary_recovers_most_of_zipf(zipf) -> None:
    table = recovery(trained(zipf), zipf)
    assert table.loc[0, "recovered"] > 0.7
    assert table.loc[0, "f1"] > table.loc[0, "random_f1"] + 0.3
    frequent = table.iloc[-1]
    assert frequent["rate_high"] == pytest.approx(0.42, abs=0.02)
    assert frequent["recovered"] > 0.8


def test_on_noise_no_dictionary_is_better_than_random(noise) -> None:
    for found in (trained(noise), noise.directions):
        table = recovery(found, noise)
        assert (table["f1"] < table["random_f1"] + 0.02).all(), found


def test_a_linear_dictionary_is_active_above_zero(zipf) -> None:
    rows = torch.from_numpy(zipf.directions)
    dictionary = LinearDictionary("0", rows.T, torch.full((64,), -0.4), rows, torch.zeros(32))
    on = dictionary.encode(torch.from_numpy(zipf.activity.values)).numpy()[10_000:] > 0
    there = zipf.features.values[10_000:] > 0
    recall = ((on & there).sum(0) / there.sum(0)).mean()
    assert recovery(dictionary, zipf).loc[0, "recall"] == pytest.approx(recall)


def test_bad_input(zipf) -> None:
    for rows, sizes in (
        (np.ones((4, 5)), None),
        (np.full((4, 32), np.nan), None),
        (np.ones((4, 32)), np.ones((3, 4))),
    ):
        with pytest.raises(NisslError, match="do not fit"):
            recovery(rows, zipf, features=sizes)
