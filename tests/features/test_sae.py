"""Dictionaries: planted directions are found, by every kind; training goes on as if unbroken."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nissl
from nissl import NisslError
from nissl.errors import TooFewSamples
from nissl.features import (
    Schedule,
    TrainedDictionary,
    gradient_sae,
    load,
    sae,
    sweep,
    transcoder,
)
from nissl.features.fit import dictionary_loss
from nissl.features.kinds.kind import KINDS, Kind, kind_of
from nissl.recording import as_recording
from tiny import tiny

QUICK = Schedule(samples=1000 * 256, batch_size=256, learning_rate=3e-3, cache=False)
OPTIONS = {"relu": {"l1": 0.5}, "gated": {"l1": 0.5}}


def planted(n=20_000, width=32, features=40, active=2.0, seed=0):
    """Sums of few of some directions, and the directions."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((features, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    codes = (rng.random((n, features)) < active / features) * rng.uniform(0.5, 1.5, (n, features))
    return as_recording((codes @ rows + 0.3).astype(np.float32)), rows


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gradient_topk"])
def test_planted_directions_are_found(kind, tmp_path):
    rec, rows = planted()
    made = kind_of(kind, **OPTIONS.get(kind, {"k": 2}))
    found = sae(rec, n_features=40, kind=made, schedule=QUICK, progress=False)
    cosine = np.abs(rows @ torch.nn.functional.normalize(found.directions).numpy().T).max(1)
    start = TrainedDictionary(made, 40, 32)
    chance = np.abs(rows @ start.directions.numpy().T).max(1)
    assert (cosine > 0.9).sum() >= {"gated": 10}.get(kind, 25)
    assert not (chance > 0.9).any()
    x = torch.from_numpy(rec.values[:500])
    features = found.encode(x)
    left = (x - found.decode(features)).square().sum() / (x - x.mean(0)).square().sum()
    assert left < 0.3
    assert 0.5 < (features > 0).float().sum(-1).mean() < 6
    again = load(found.save(tmp_path / "d.safetensors"))
    assert torch.equal(again.encode(x), features)
    assert again.extra_repr() == found.extra_repr()


def test_a_transcoder_maps_one_site_to_another():
    rec, _ = planted()
    other = as_recording((np.maximum(rec.values, 0) @ np.eye(32, 5)).astype(np.float32))
    found = transcoder(rec, other, n_features=32, k=4, schedule=QUICK, progress=False)
    x, y = (torch.from_numpy(r.values[:500]) for r in (rec, other))
    left = (y - found(x)).square().sum() / (y - y.mean(0)).square().sum()
    assert left < 0.35
    assert found.name == "transcoder"


def test_features_are_a_site_of_the_network():
    net = nissl.load(tiny("llama"), progress=False)
    ids = [[5, 6, 7, 8, 9, 10]] * 200
    rec = nissl.record(net, ids, sites="blocks.1.resid_post", progress=False)
    found = sae(
        rec, n_features=20, k=3, schedule=Schedule(256 * 50, 256, cache=False), progress=False
    )
    assert found.site_in == "blocks.1.resid_post"
    seen = net.with_dictionary(found)
    values = seen.run([ids[0]], sites="blocks.1.resid_post.sae")["blocks.1.resid_post.sae"]
    assert values.shape == (1, 6, 20)
    unit = int(values[0, -1].argmax())
    with seen.edit(nissl.ablate(f"blocks.1.resid_post.sae[{unit}]")):
        after = seen.run([ids[0]], sites="blocks.1.resid_post")["blocks.1.resid_post"]
    before = net.run([ids[0]], sites="blocks.1.resid_post")["blocks.1.resid_post"]
    gone = values[0, -1, unit] * found.directions[unit].double()
    assert torch.allclose(before[0, -1] - after[0, -1], gone, atol=1e-4)


def test_what_was_interrupted_goes_on_to_the_same_bytes(monkeypatch, tmp_path):
    monkeypatch.setenv("NISSL_CACHE", str(tmp_path))
    monkeypatch.setattr(sys.modules["nissl.training.keeping"], "SECONDS", 0.0)
    rec, _ = planted(n=4000)
    shuffled = sys.modules["nissl.training.shuffled_rows"].ShuffledRows
    whole = shuffled.__call__

    def train(cache):
        schedule = Schedule(samples=40 * 256, batch_size=256, cache=cache)
        return sae(rec, n_features=24, kind="batch_topk", k=2, schedule=schedule, progress=False)

    def stopped(self, step):
        if step == 25:
            raise KeyboardInterrupt
        return whole(self, step)

    monkeypatch.setattr(shuffled, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(True)
    monkeypatch.setattr(shuffled, "__call__", whole)
    resumed, unbroken = train(True).state_dict(), train(False).state_dict()
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


@dataclass(frozen=True)
class Newcomer(Kind):
    """All features that are above one half."""

    name = "newcomer"

    def encode(self, dictionary, scaled):
        scores = dictionary.scores(scaled)
        return scores * (scores > 0.5)


def test_a_newcomer_adds_a_kind():
    rec, _ = planted(n=4000)
    schedule = Schedule(samples=60 * 256, batch_size=256, cache=False)
    found = sae(rec, n_features=24, kind=Newcomer(), schedule=schedule, progress=False)
    features = found.encode(torch.from_numpy(rec.values[:100]))
    assert features[features != 0].min() > 0.5
    assert found.losses[-1] < found.losses[0]


def test_silent_features_are_revived():
    rec, _ = planted(n=4000)
    made = TrainedDictionary(kind_of("topk", k=2), 24, 32)
    x = torch.from_numpy(rec.values[:256])
    made.silent.fill_(10**9)
    made.train()
    loss = dictionary_loss(made, (x,))
    loss.backward()
    used = made.encode(x).gt(0).any(0)
    assert not used.all()
    assert made.w_enc.grad[~used].abs().sum() > 0  # by what is left, though they are not active
    assert made.silent[used].max() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_features": 8, "k": 9}, "k=9 of 8"),
        ({"n_features": 8, "kind": "topkk"}, "topk"),
        ({"n_features": 8, "k": 9, "kind": "batch_topk"}, "k=9 of 8"),
        ({"n_features": 8, "k": 9, "kind": "jump_relu"}, "k=9 of 8"),
        ({"n_features": 8, "k": 2, "kind": "relu"}, "cannot have these options"),
        ({"n_features": 8, "k": 2, "kind": kind_of("topk", k=3)}, "leave k= out"),
        ({"n_features": 8, "k": 2, "site": "blocks.1"}, "does not say what its site is"),
    ],
)
def test_what_cannot_be_is_said(options, said):
    with pytest.raises(NisslError, match=said):
        sae(planted(n=2000)[0], schedule=QUICK, progress=False, **options)


def test_activity_that_cannot_be_learned_from_is_refused(tmp_path):
    schedule = Schedule(batch_size=16, cache=False)
    flat = as_recording(np.ones((64, 3), dtype=np.float32))
    with pytest.raises(NisslError, match="does not vary"):
        sae(flat, n_features=4, k=1, schedule=schedule, progress=False)
    with pytest.raises(TooFewSamples, match="fewer than two batches"):
        sae(flat[:20], n_features=4, k=1, schedule=schedule, progress=False)
    made = sae(
        planted()[0], n_features=4, k=1, schedule=Schedule(512, 256, cache=False), progress=False
    )
    with pytest.raises(NisslError, match="reads 32 units, not 3"):
        made.encode(torch.ones(2, 3))
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(NisslError, match="no dictionary"):
        load(tmp_path / "x.safetensors")


def test_a_transcoder_of_activity_without_a_site_is_read_back_as_one(tmp_path):
    rec, _ = planted(n=2000)
    schedule = Schedule(samples=512, batch_size=256, cache=False)
    found = transcoder(rec, rec * 2, n_features=12, k=2, schedule=schedule, progress=False)
    again = load(found.save(tmp_path / "t.safetensors"))
    x = torch.from_numpy(rec.values[:20])
    assert again.name == "transcoder"
    assert torch.equal(again(x), found(x))
    found.b_enc.data[0] = torch.nan
    with pytest.raises(NisslError, match="not finite"):
        load(found.save(tmp_path / "t.safetensors"))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 8, "samples": 7}])
def test_schedules_that_train_nothing_are_refused(options):
    with pytest.raises(NisslError, match="train nothing"):
        Schedule(**options)


def test_one_value_more_is_another_recording():
    from nissl.training import ShuffledRows

    rec, _ = planted(n=2000)
    other = rec.copy(deep=True)
    other.values[1003, 7] += 1
    prints = [ShuffledRows([x], batch_size=32).fingerprint for x in (rec, rec.copy(), other)]
    assert prints[0] == prints[1] != prints[2]


def test_several_in_one_pass_are_each_what_it_is_alone():
    rec, _ = planted(n=4000)
    how = {"schedule": Schedule(samples=60 * 128, batch_size=128, cache=False), "progress": False}
    found = sweep(rec, n_features=[16, 40], k=[2, 4], kinds=["topk", "jump_relu"], **how)
    assert len(found) == 8
    for name in ("topk, 16 features, k=4", "jump_relu, 40 features, k=2"):
        kind, size, k = name.split(", ")
        alone = sae(rec, n_features=int(size.split()[0]), k=int(k[2:]), kind=kind, **how)
        for a, b in zip(found[name].parameters(), alone.parameters(), strict=True):
            assert torch.equal(a, b)


def test_features_that_the_loss_depends_on_are_chosen():
    # There is room for half of the directions; the loss depends on the last twelve alone.
    rng = np.random.default_rng(0)
    rows = np.linalg.qr(rng.standard_normal((24, 24)))[0]
    codes = (rng.random((20_000, 24)) < 0.2) * rng.uniform(0.5, 1.5, (20_000, 24))
    slopes = codes * np.repeat([0.0, 10.0], 12) @ rows
    rec, gradients = (as_recording(x.astype(np.float32)) for x in (codes @ rows, slopes))
    how = {"n_features": 12, "k": 3, "schedule": QUICK, "progress": False}
    cosine = {}
    for name, found in (
        ("plain", sae(rec, **how)),
        ("gradient", gradient_sae(rec, gradients, **how)),
        ("none", gradient_sae(rec, gradients * 0 + 1e-9, **how)),
    ):
        unit = torch.nn.functional.normalize(found.directions).numpy()
        cosine[name] = np.abs(rows[12:] @ unit.T).max(1)
    assert cosine["gradient"].mean() > cosine["plain"].mean() + 0.15
    assert cosine["gradient"].mean() > cosine["none"].mean() + 0.15
    with pytest.raises(NisslError, match="gradients"):
        gradient_sae(rec, gradients[:-1], **how)
    with pytest.raises(NisslError, match="learns from gradients"):
        sae(rec, kind="gradient_topk", **how)
