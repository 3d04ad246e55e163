"""Encode: responses that features drive are predicted, others not; stimuli, bands, ceilings."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

import nissl
from nissl import NisslError, Test
from nissl.brain import Linear, encode
from nissl.brain.readouts import readout as registry
from nissl.recording import as_recording
from nissl.statistics import NotExchangeable

QUICK = Test(n_permutations=99)


def planted(n=150, width=10, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, width))
    y = rng.standard_normal((n, 6)) * noise
    y[:, :3] += x @ rng.standard_normal((width, 3)) / np.sqrt(width)
    return x, y


def test_units_that_features_drive_are_found_and_no_others():
    found = encode(*planted(), test=QUICK, progress=False)
    assert (found.table["correlation"][:3] > 0.4).all()
    assert found.finding.significant().units == ["unit[0]", "unit[1]", "unit[2]"] or set(
        found.finding.significant().units
    ) == {"unit[0]", "unit[1]", "unit[2]"}
    found.plot()


def test_false_positives_are_at_the_level():
    p = [
        encode(*planted(n=60, seed=s), test=Test(n_permutations=19, correction=None),
               progress=False).table["p"][3:]
        for s in range(40)
    ]  # fmt: skip
    assert (np.concatenate(p) <= 0.05).sum() <= 15  # of 120 at 0.05


def test_ridge_as_scikit_learn_has_it():
    x, y = planted()
    made = np.empty_like(y)
    for train, rest in KFold(5).split(x):
        mean, spread = x[train].mean(0), x[train].std(0)
        z = (x - mean) / spread
        for unit in range(6):
            fitted = RidgeCV(10.0 ** np.arange(-2, 8), cv=KFold(5)).fit(z[train], y[train, unit])
            made[rest, unit] = fitted.predict(z[rest])
    found = encode(x, y, test=None, progress=False).predictions
    assert np.corrcoef(found[:, :3].ravel(), made[:, :3].ravel())[0, 1] > 0.99


def test_stimuli_are_looked_up_and_left_out_together():
    x, y = planted(n=40, width=4, noise=0.5)
    names = np.array([f"s{i}" for i in range(40)])
    rng = np.random.default_rng(1)
    order = np.concatenate([rng.permutation(40) for _ in range(4)])
    noisy = y[order] + rng.standard_normal((160, 6))
    features = as_recording(x, samples={"stimulus": names})
    rec = as_recording(noisy, samples={"stimulus": names[order], "run": np.repeat(range(4), 40)})
    found = encode(features, rec, test=QUICK, progress=False)
    assert (found.table["correlation"][:3] > 0.3).all()
    assert found.table["ceiling"].between(0.3, 1).all()
    assert found.table["of_ceiling"][:3].between(0, 1).all()
    found.plot()
    # Weights of a stimulus' own noise are no use on another: nothing leaks through repeats.
    chance = encode(
        as_recording(rng.standard_normal((40, 60)), samples={"stimulus": names}), rec,
        test=None, progress=False,
    )  # fmt: skip
    assert chance.table["correlation"].abs().mean() < 0.2
    by_run = encode(features, rec, folds="run", test=None, progress=False)
    assert (by_run.table["correlation"][:3] > 0.3).all()
    with pytest.raises(NisslError, match="no features"):
        encode(features[:-1], rec, progress=False)
    with pytest.raises(NisslError, match="several rows"):
        encode(features[[0, *range(39)]], rec, progress=False)


def test_bands_keep_many_idle_features_out():
    x, y = planted(n=100, noise=0.5)
    idle = 3 * np.random.default_rng(1).standard_normal((100, 300))
    plain = encode(np.c_[x, idle], y, test=None, progress=False).table["correlation"][:3].mean()
    banded = encode({"own": x, "idle": idle}, y, test=None, progress=False)
    assert banded.table["correlation"][:3].mean() > plain + 0.1


def test_delays_find_a_slow_response():
    x, _ = planted(n=400)
    rng = np.random.default_rng(2)
    y = np.zeros((400, 2))
    y[3:, 0] = x[:-3] @ rng.standard_normal(10)
    y += rng.standard_normal((400, 2))
    now, late = (
        encode(x, y, delays=delays, test=None, progress=False).table["correlation"]
        for delays in ((), (2, 3, 4))
    )
    assert now[0] < 0.3
    assert late[0] > 0.8
    assert abs(late[1]) < 0.2


def test_a_readout_is_added_in_one_short_file(tmp_path, monkeypatch):
    text = '''
from dataclasses import dataclass

import numpy as np

from nissl.brain.readouts.readout import Readout


@dataclass(frozen=True)
class Nearest(Readout):
    """Each response is that to the training stimulus whose features are nearest."""

    def fit(self, x, y, *, groups, seed=0):
        """Keep the stimuli."""
        return _Fitted(x, y)


@dataclass(frozen=True)
class _Fitted:
    x: object
    y: object

    def predict(self, x):
        """Return the nearest's responses."""
        far = ((x[:, None] - self.x[None]) ** 2).sum(-1)
        return self.y[far.argmin(1)]
'''
    (tmp_path / "nearest.py").write_text(text)
    assert len(text.splitlines()) < 40
    package = __import__("nissl.brain.readouts", fromlist=["__path__"])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setitem(registry.READOUTS, "nearest", "Nearest")
    x, y = planted(n=200, width=3, noise=0.2)
    found = encode(x, y, readout="nearest", test=None, progress=False)
    assert (found.table["correlation"][:3] > 0.7).all()


def test_what_cannot_be_is_said():
    x, y = planted()
    for bad, why in (
        ((x[:-1], y), "rows of features"),
        ((np.where(x > 2, np.nan, x), y), "features: not all finite"),
        ((x, np.where(y > 2, np.inf, y)), "finite"),
        ((x[:, 0], y), "shapes"),
    ):
        with pytest.raises(NisslError, match=why):
            encode(*bad, progress=False)
    slow = np.random.default_rng(0).standard_normal((150, 13)).cumsum(0)
    with pytest.raises((NotExchangeable, NisslError)):
        encode(slow[:, :10], slow[:, 10:], progress=False)
    with pytest.raises(NisslError, match="readout"):
        encode(x, y, readout="unknown")
    constant = encode(np.c_[x, np.ones(150)], np.c_[y, np.ones(150)], test=QUICK, progress=False)
    assert constant.table["p"].iloc[-1] == 1
    assert Linear().places is False


@pytest.mark.real
def test_haxby_from_what_was_shown():
    bold = nissl.recording.clean(nissl.read("haxby"), by="run", detrend=True, standardise=True)
    shown = bold["category"].values
    categories = np.unique(shown[shown != "rest"])
    design = (shown[:, None] == categories).astype(float)
    found = encode(design, bold, folds="run", delays=(1, 2, 3), test=None, progress=False)
    assert found.table["correlation"].max() > 0.4
    found.plot()
