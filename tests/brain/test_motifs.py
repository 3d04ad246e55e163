"""Spiking motifs: planted ones are found better than by rate, jittered spikes at the level."""

import numpy as np
import pytest

from nissl.brain import motifs, planted_motifs
from nissl.errors import NisslError, TooFewSamples
from nissl.recording import as_recording
from nissl.statistics import JitteredSpikes, PermutedLabels, Test

QUIET = {"progress": False}


def test_planted_motifs_are_found_better_than_by_rate():
    spikes, onsets, planted = planted_motifs(5000, (3, 12, 25))
    found = motifs(spikes, onsets, test=Test(19), **QUIET)
    table = found.finding.table
    assert (table["average_precision"] > 0.75).all()
    assert (table["by_rate"] < 0.15).all()
    assert (table["p"] == 0.05).all()
    assert (table["hits"] > 0.7).all()
    np.testing.assert_allclose(table["false_alarms"], 0.001, atol=0.0005)
    for kernel, truth in zip(found.kernels, planted, strict=True):
        assert np.corrcoef(kernel.ravel(), truth.ravel())[0, 1] > 0.6
        assert np.mean(np.abs(kernel.argmax(axis=1) - truth.argmax(axis=1)) <= 1) > 0.9


def test_nothing_is_found_where_rates_alone_follow_onsets():
    """Onsets are more frequent where rates are high; both change slowly."""
    p, slow = [], (1 + np.sin(np.arange(2500) / 150)) / 2
    for seed in range(8):
        rng = np.random.default_rng(seed)
        onsets = rng.random(2500) < 0.03 * slow
        spikes = rng.random((2500, 6)) < 0.02 + 0.05 * slow[:, None]
        table = motifs(spikes.astype(int), onsets, test=Test(19, seed=seed), **QUIET).finding.table
        p.append(table["p"][0])
        assert table["false_alarms"][0] < 0.004
    assert np.mean(np.array(p) <= 0.05) <= 0.25


def test_spikes_are_bernoulli_of_the_convolved_motif():
    spikes, onsets, planted = planted_motifs(200_000, (1, 2, 5), onset_rate=0.002, seed=3)
    near = np.convolve(onsets[:, 0], np.ones(9), "same")
    alone = np.flatnonzero(onsets[:-5, 0] & (near[:-5] == 1))
    odds = np.log(0.02 / 0.98) + planted[0]
    share = np.stack([spikes[alone + d].mean(axis=0) for d in range(5)], axis=1)
    np.testing.assert_allclose(share, 1 / (1 + np.exp(-odds)), atol=0.1)
    assert spikes[near == 0].mean() == pytest.approx(0.02, abs=0.002)


def test_no_motif_spans_two_runs_and_windows_are_in_seconds():
    spikes, onsets, _ = planted_motifs(2000, (1, 8, 25), seed=1)
    x = as_recording(
        spikes, samples={"time": np.arange(2000) / 100, "run": np.arange(2000) // 1000}
    )
    short = Test(3, null=JitteredSpikes(0.25))
    found = motifs(x, onsets[:, 0], test=short, **QUIET)
    same = motifs(spikes, onsets[:, 0], test=Test(3, null=JitteredSpikes(25)), **QUIET)
    np.testing.assert_allclose(
        found.finding.table["average_precision"], same.finding.table["average_precision"], atol=0.02
    )
    assert found.finding.null == "JitteredSpikes(window=0.25)"


def test_bad_input_is_named():
    spikes, onsets, _ = planted_motifs(500, (1, 4, 10))
    with pytest.raises(NisslError, match="no counts"):
        motifs(spikes - 0.5, onsets, **QUIET)
    with pytest.raises(NisslError, match="onsets"):
        motifs(spikes, onsets[:-1], **QUIET)
    with pytest.raises(TooFewSamples, match="onsets in a fit"):
        motifs(spikes, np.zeros(500), **QUIET)
    with pytest.raises(NisslError, match="another question"):
        motifs(spikes, np.arange(500) % 20 == 0, test=Test(19, null=PermutedLabels()), **QUIET)
