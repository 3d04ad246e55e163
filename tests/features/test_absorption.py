"""Absorption: children that absorb their planted parent, and features that do not."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from nissl import NisslError
from nissl.features import Schedule, absorption, sae
from nissl.specimens import load


@dataclass
class Known:
    """A dictionary that is told which sample it is given."""

    sizes: np.ndarray
    rows: np.ndarray
    site_out: str = "0"
    site_in: str = "0"

    @property
    def directions(self):
        return torch.from_numpy(self.rows)

    def encode(self, x):
        self.read = getattr(self, "read", 0) + len(x)
        return torch.from_numpy(self.sizes[self.read - len(x) : self.read])


def hierarchy():
    planted = load("planted-hierarchy", n_samples=2000, n_features=40)
    parent = planted.features["parent"].values
    return planted, planted.features.values, planted.directions, parent


def absorbing():
    """The parent is silent where one of its children is active, which has its direction too."""
    planted, sizes, rows, parent = hierarchy()
    child = np.flatnonzero(parent == 0)[1]
    sizes, rows = sizes.copy(), rows.copy()
    rows[child] += rows[0]
    sizes[sizes[:, child] > 0, 0] = 0
    return planted, sizes, rows, child


def found(planted, sizes, rows, **options):
    on = planted.features.values[:, 0] > 0
    half = np.arange(len(on)) % 2 == 0
    return absorption(Known(sizes, rows), planted.activity.values, on, learned=half, **options)


def test_a_child_that_absorbs_is_found():
    planted, sizes, rows, child = absorbing()
    said = found(planted, sizes, rows)
    tested = planted.features.values[1::2]
    assert (said["main"], said["by"]) == ([0], child)
    truth = (tested[tested[:, 0] > 0, child] > 0).mean()
    assert said["silent"] == pytest.approx(truth, abs=0.03)
    assert said["absorbed"] > 0.8 * said["silent"]
    assert said["chance"] < said["absorbed"] / 2


def test_nothing_is_absorbed_in_the_true_features():
    planted, sizes, rows, _ = hierarchy()
    said = found(planted, sizes, rows)
    assert said["main"] == [0]
    assert (said["silent"], said["absorbed"], said["by"]) == (0, 0, -1)


def test_features_that_are_silent_at_random_are_not_absorbed():
    alone = load("planted-zipf", n_samples=2000, n_features=40)
    sizes = alone.features.values * (np.random.default_rng(0).random((2000, 40)) < 0.7)
    said = found(alone, sizes.astype(np.float32), alone.directions)
    assert said["silent"] > 0.2
    assert said["absorbed"] < 0.05 or said["absorbed"] < said["chance"] + 0.05


@pytest.mark.parametrize("name", ["planted-hierarchy", "planted-zipf"])
def test_trained_dictionaries_absorb_where_there_is_a_hierarchy(name):
    planted = load(name, n_samples=8000, n_features=40)
    half = np.arange(8000) % 2 == 0
    how = Schedule(samples=500 * 256, batch_size=256, learning_rate=3e-3, cache=False)
    shares = {}
    for kind in ("topk", "matryoshka"):
        learned = {"kind": kind, "n_features": 40, "k": 4, "schedule": how, "progress": False}
        found = sae(planted.activity[half], **learned)
        on = planted.features.values[:, :5] > 0  # five parents, where there are any
        said = [absorption(found, planted.activity.values, x, learned=half) for x in on.T]
        shares[kind] = np.mean([[s["absorbed"], s["chance"]] for s in said], axis=0)
    absorbed, chance = shares["topk"]
    if name == "planted-hierarchy":
        assert absorbed > max(0.25, chance + 0.08)
        assert shares["matryoshka"][0] < absorbed / 2
    else:
        assert absorbed < 0.1
        assert shares["matryoshka"][0] < 0.1


def test_a_child_that_is_counted_as_the_concept_does_not_absorb():
    planted, sizes, rows, child = absorbing()
    said = found(planted, sizes, rows, k=4)
    assert {0, child} <= set(said["main"])
    assert said["absorbed"] == 0


def test_what_cannot_be_is_said():
    planted, sizes, rows, _ = hierarchy()
    on, x = planted.features.values[:, 0] > 0, planted.activity.values
    with pytest.raises(NisslError, match="transcoder"):
        absorption(Known(sizes, rows, "1"), x, on, learned=np.arange(len(on)) % 2)
    with pytest.raises(NisslError, match="not both classes"):
        absorption(Known(sizes, rows), x, on, learned=on)
