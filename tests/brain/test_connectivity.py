"""Connectivity: planted edges, level, runs, windows, refusals."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from nissl.brain import connectivity
from nissl.errors import NisslError, TooFewSamples, UnknownName
from nissl.recording import as_recording
from nissl.statistics import NotExchangeable, PermutedLabels, PhaseRandomised, Test
from nissl.statistics import series as series_module
from nissl.statistics.calibration import rate
from nissl.statistics.connectivity_measures import MEASURES, connectivity_measure

QUIET = {"test": None, "progress": False}


def autoregressive(weights, n, *, seed=0, noise=None):
    """A series of x[t + 1] = weights' x[t] + noise: weights[a, b] is the edge from a to b."""
    rng = np.random.default_rng(seed)
    n_units = len(weights)
    e = rng.standard_normal((n + 100, n_units)) * (1.0 if noise is None else noise)
    x = np.zeros((n + 100, n_units))
    for t in range(1, len(x)):
        x[t] = x[t - 1] @ weights + e[t]
    return x[100:]


@pytest.fixture(scope="module")
def series():
    x = autoregressive(np.diag([0.5, 0.3, 0.7, 0.1]), 400, seed=1)
    x[:, 1] += 0.8 * x[:, 0]
    return x


# ---- planted edges, and none


def test_a_measure_is_one_function():
    @connectivity_measure(directed=True, alternative="greater")
    def excess(x):
        return np.maximum(x[:-1].T @ x[1:], 0) / len(x)

    try:
        x = autoregressive(np.array([[0, 0.8], [0, 0.0]]), 300)
        found = connectivity(x, measure="excess", test=Test(n_permutations=99), progress=False)
        assert found.edges.significant().units == ["unit[0] -> unit[1]"]
        again = connectivity(x, measure=MEASURES["excess"].function, **QUIET)
        np.testing.assert_array_equal(found.values, again.values)
    finally:
        del MEASURES["excess"]


def test_partial_correlation_finds_direct_edges_only():
    """A chain 0 - 1 - 2 and 3 - 4 of slow series: 0 and 2 correlate through 1 alone."""
    x = autoregressive(np.eye(5) * 0.6, 1500, seed=5)
    x[:, 1] += 0.7 * x[:, 0]
    x[:, 2] += 0.7 * x[:, 1]
    x[:, 4] -= 0.6 * x[:, 3]
    test = Test(n_permutations=199)
    whole = connectivity(x, test=test, progress=False)
    direct = connectivity(x, measure="partial_correlation", test=test, progress=False)
    edges = {(0, 1), (1, 2), (3, 4)}
    assert set(map(tuple, np.argwhere(np.triu(whole.p <= 0.05)))) == edges | {(0, 2)}
    assert set(map(tuple, np.argwhere(np.triu(direct.p <= 0.05)))) == edges
    assert direct.values[3, 4] < 0
    assert np.isnan(np.diag(direct.p)).all()


def test_granger_finds_direction_and_nothing_along_a_chain():
    weights = np.diag([0.5, 0.5, 0.5, 0.9])
    weights[0, 1] = weights[1, 2] = 0.4
    x = autoregressive(weights, 1000, seed=4)
    found = connectivity(x, measure="granger", test=Test(n_permutations=199), progress=False)
    assert set(found.edges.significant().units) == {
        "unit[0] -> unit[1]",
        "unit[1] -> unit[2]",
    }
    lagged = connectivity(
        x, measure="lagged_correlation", test=Test(n_permutations=199), progress=False
    )
    assert "unit[0] -> unit[2]" in lagged.edges.significant().units
    assert lagged.values[0, 1] > lagged.values[1, 0]


@pytest.mark.parametrize(
    ("measure", "options"),
    [
        ("correlation", {}),
        ("partial_correlation", {}),
        ("granger", {"order": 2}),
        ("lagged_correlation", {}),
        ("mutual_information", {"bins": 4}),
        ("coherence", {"rate": 1, "band": (0.05, 0.2), "segment": 32}),
        ("phase_locking", {"rate": 1, "band": (0.05, 0.2)}),
        ("affinity", {}),
    ],
)
def test_nothing_is_found_in_independent_slow_series(measure, options):
    """Family-wise: in at most 5% of data sets is any edge found."""
    found_in = []
    for seed in range(40):
        x = autoregressive(np.diag([0.9, 0.8, 0.6]), 320, seed=100 + seed)
        found = connectivity(
            x, measure=measure, test=Test(n_permutations=39), progress=False, **options
        )
        found_in.append(found.edges.table["q"].min())
    assert rate(found_in).low <= 0.05


def test_random_phases_are_a_null_too():
    test = Test(null=PhaseRandomised(), n_permutations=59)
    smallest = []
    for seed in range(40):
        x = autoregressive(np.diag([0.8, 0.8, 0.6]), 300, seed=seed)
        found = connectivity(x, test=test, progress=False)
        smallest.append(found.edges.table["q"].min())
    assert rate(smallest).low <= 0.05
    x[:, 2] += x[:, 0]
    found = connectivity(x, measure="granger", order=2, test=test, progress=False)
    assert found.edges.null.startswith("PhaseRandomised")
    assert connectivity(x, test=test, progress=False).p[0, 2] <= 0.05


def test_an_edge_given_the_others_is_tested_at_the_level_of_what_they_leave():
    """Fast series that share a fast third are slow without it: the residuals are what is shifted.

    Shifting the series themselves calls the pair significant in a third of these data sets.
    """
    called = []
    for seed in range(40):
        x = autoregressive(np.diag([0.9, 0.9, 0.0]), 800, seed=seed)
        x[:, :2] = x[:, :2] / 3 + 3 * x[:, 2:]
        found = connectivity(
            x, measure="partial_correlation", test=Test(n_permutations=39), progress=False
        )
        called.append(found.edges.table["p"][0])
    assert rate(called).low <= 0.05


def test_many_slow_regressors_do_not_make_edges():
    """Of the residuals of many slow units little is slow: series are shifted, too."""
    smallest = []
    for seed in range(20):
        x = autoregressive(np.eye(25) * 0.6, 300, seed=seed)
        found = connectivity(
            x, measure="partial_correlation", test=Test(n_permutations=39), progress=False
        )
        smallest.append(found.edges.table["q"].min())
    assert rate(smallest).low <= 0.05


# ---- runs, windows, and what is given back


def test_runs_are_demeaned_each_by_itself_and_never_joined():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3))
    level = np.repeat([[5.0], [-5.0], [0.0]], 100, axis=0)  # would correlate all units
    run = np.repeat(["a", "b", "c"], 100)
    rec = as_recording(x + level, samples={"run": run})
    assert np.abs(np.triu(connectivity(rec, **QUIET).values, 1)).max() < 0.2
    each = connectivity(rec, by="run", **QUIET)
    assert each.values.shape == (3, 3, 3)
    assert each.matrices["run"].tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(each.values[1], np.corrcoef(x[100:200].T), atol=1e-12)
    spread = each.values.std(axis=0, ddof=1)[0, 1]
    assert each.edges.table["spread"][0] == pytest.approx(spread)
    assert each.edges.table["correlation"][0] == pytest.approx(each.mean[0, 1])
    centred = x.reshape(3, 100, 3) - x.reshape(3, 100, 3).mean(axis=1, keepdims=True)
    lagged = connectivity(rec, measure="lagged_correlation", **QUIET).values
    now, then = centred[:, :-1].reshape(-1, 3), centred[:, 1:].reshape(-1, 3)
    assert lagged[0, 1] == pytest.approx(np.corrcoef(now[:, 0], then[:, 1])[0, 1], abs=1e-10)


def test_windows_lie_inside_runs_and_have_times():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 2))
    run = np.repeat([0, 1], 50)
    time = np.tile(np.arange(50) * 0.5, 2)
    rec = as_recording(x, samples={"run": run, "time": time})
    found = connectivity(rec, window=10, step=5, **QUIET)
    assert found.values.shape == (8, 2, 2)  # four windows of 20 samples in each run
    assert found.matrices["start"].tolist() == [0, 5, 10, 15] * 2
    assert found.matrices["time"][0] == pytest.approx(4.75)
    np.testing.assert_allclose(found.values[4], np.corrcoef(x[50:70].T), atol=1e-12)
    bare = connectivity(x, window=20, **QUIET)
    assert len(bare.values) == 9
    with pytest.raises(TooFewSamples, match="no run holds"):
        connectivity(rec, window=30, **QUIET)


def test_gaps_in_time_end_a_run():
    time = np.concatenate([np.arange(50), np.arange(60, 110)]) / 10.0
    x = np.random.default_rng(0).standard_normal((100, 2)) + (time > 5)[:, None] * 9
    rec = as_recording(x, samples={"time": time})
    assert abs(connectivity(rec, **QUIET).values[0, 1]) < 0.3
    with pytest.raises(NisslError, match="do not increase"):
        connectivity(as_recording(x, samples={"time": time[::-1]}), **QUIET)


def test_the_same_for_any_layout_and_seed_and_batches(series, monkeypatch):
    test = Test(n_permutations=20, seed=3)
    one = connectivity(series, test=test, progress=False)
    frozen = np.asfortranarray(series)
    frozen.flags.writeable = False
    wide = np.repeat(series, 2, axis=1)[:, ::2]
    monkeypatch.setattr(series_module, "BATCH_BYTES", 1)
    for other in (frozen, wide):
        again = connectivity(other, test=test, progress=False)
        assert again.edges.table.equals(one.edges.table)
    counts = connectivity(np.round(series * 10).astype(np.int16), **QUIET).values
    assert counts[0, 1] == pytest.approx(one.values[0, 1], abs=0.02)
    assert one.edges.null.startswith("CircularShift")


def test_matrix_and_graph_are_drawn(series):
    rec = as_recording(series, units={"region": ["b", "a", "b", "a"]})
    found = connectivity(rec, test=Test(n_permutations=199), progress=False)
    graph = found.graph()
    assert list(graph.edges) == [("unit[0]", "unit[1]")]
    assert graph.nodes["unit[0]"]["region"] == "b"
    figure = found.plot()
    shown = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert shown == ["unit[1]", "unit[3]", "unit[0]", "unit[2]"]
    assert "1 edges" in found.plot("graph").axes[0].get_title()
    directed = connectivity(series, measure="granger", **QUIET)
    assert directed.graph().is_directed()
    directed.plot(), directed.plot("graph")
    plt.close("all")
    with pytest.raises(NisslError, match="not tested"):
        _ = directed.p


# ---- refusals


def test_permuting_slow_samples_is_refused_and_shifts_are_offered():
    null = Test(null=PermutedLabels(), n_permutations=39)
    slow = autoregressive(np.diag([0.9, 0.9]), 300)
    with pytest.raises(NotExchangeable, match="CircularShift"):
        connectivity(slow, test=null, progress=False)
    white = np.random.default_rng(0).standard_normal((300, 2))
    assert connectivity(white, test=null, progress=False).p[0, 1] > 0.05
    with pytest.raises(NotExchangeable, match="short"):
        connectivity(slow[:60].cumsum(axis=0), progress=False)
    with pytest.raises(NotExchangeable, match="remember over"):
        connectivity(slow[:90], measure="partial_correlation", progress=False)


def test_bad_input_is_named(series):
    flat = series.copy()
    flat[:, 2] = 0.1
    with pytest.raises(NisslError, match="do not vary") as caught:
        connectivity(flat, **QUIET)
    assert caught.value.where == "unit[2]"
    flat = series.copy()
    flat[100:200, 1] = 0
    with pytest.raises(NisslError, match="do not vary") as caught:
        connectivity(flat, window=100, step=100, **QUIET)
    assert caught.value.where == "matrix 1 unit[1]"
    lost = series.copy()
    lost[3, 1] = np.nan
    with pytest.raises(NisslError, match="NaN") as caught:
        connectivity(lost, **QUIET)
    assert caught.value.where == "unit[1]"
    for x in (series[:0], series[:1], series[:, :1], series[:, 0]):
        with pytest.raises(NisslError, match="shape"):
            connectivity(x, **QUIET)
    with pytest.raises(UnknownName, match="partial_correlation"):
        connectivity(series, measure="partial", **QUIET)
    with pytest.raises(UnknownName, match="option of granger"):
        connectivity(series, measure="granger", lag=2, **QUIET)
    with pytest.raises(NisslError, match="rate="):
        connectivity(series, measure="phase_locking", band=(1, 2), **QUIET)
    with pytest.raises(NisslError, match="holds no frequency"):
        connectivity(series, measure="coherence", band=(60, 70), rate=100, **QUIET)
    with pytest.raises(NisslError, match="biased"):
        connectivity(series, measure="partial_correlation", estimator="ledoit_wolf")
    with pytest.raises(TooFewSamples, match="regressors"):
        connectivity(series[:12], measure="partial_correlation", **QUIET)


# ---- real recordings


@pytest.mark.real
def test_structure_goes_with_function_in_every_subject(hcp):
    from nissl.specimens.recordings import hcp_structure

    structure = hcp_structure()
    found = connectivity(hcp, by="subject", **QUIET)
    pairs = np.triu_indices(94, 1)
    r = []
    for subject, matrix in zip(found.matrices["subject"], found.values, strict=True):
        fibres = structure["strength"].sel(subject=subject).values
        r.append(np.corrcoef(fibres[pairs], matrix[pairs])[0, 1])
    assert len(r) == 7
    assert min(r) > 0.2
    assert max(r) < 0.46


@pytest.mark.real
def test_signals_of_the_worm_go_where_its_synapses_go(worm):
    from nissl.specimens import worm_connectomes, worm_neurons

    wiring = worm_connectomes()
    source, target = worm_neurons(worm["stimulus"].values), worm_neurons(worm["unit"].values)
    joined = (wiring["chemical"] + wiring["gap"]).sel(source=source, target=target).max(
        "dataset"
    ) > 0
    joined = joined.values
    answer = np.abs(worm.values)
    measured = np.isfinite(answer)
    rng = np.random.default_rng(0)

    def effect(joined):
        near, far = answer[measured & joined], answer[measured & ~joined]
        return np.median(near) - np.median(far)

    # A neuron that answers much, and has many synapses, does so for every stimulus: stimuli move.
    drawn = [effect(joined[rng.permutation(len(source))]) for _ in range(199)]
    assert effect(joined) > max(drawn)
