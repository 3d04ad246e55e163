from itertools import combinations, permutations, product

import numpy as np
import pytest
from scipy import stats

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording
from nissl.statistics import (
    CircularShift,
    MatchedUnits,
    NotExchangeable,
    PermutedLabels,
    Test,
    cohens_d,
    permutation,
    permutation_test,
    scores,
)


def quiet(values, labels, **options):
    return permutation_test(values, labels, progress=False, **options)


def slow_p(values, labels, statistic, null, n, seed, block=None):
    """The test in a slow, obvious form: two-sided about the mean of draws and observed score."""
    index = null.draw(labels, n, exchange=block, seed=seed)
    observed = statistic(values, labels)
    draws = np.array([statistic(values, labels[i]) for i in index])
    middle = (draws.sum(axis=0) + observed) / (n + 1)
    far = np.abs(observed - middle)
    return (1 + (np.abs(draws - middle) >= far - 1e-9).sum(axis=0)) / (n + 1)


def mean_difference(values, labels):
    return values[labels == 1].mean(axis=0) - values[labels == 0].mean(axis=0)


@pytest.mark.parametrize("null", [PermutedLabels(), CircularShift(min_shift=2)])
def test_p_values_equal_a_slow_loop(null):
    rng = np.random.default_rng(0)
    labels = (np.arange(60) // 3) % 2
    values = rng.standard_normal((60, 7)) + 0.5 * np.outer(labels, np.arange(7) == 2)
    n = 50
    found = quiet(
        values, labels, score="mean_difference", test=Test(n_permutations=n, null=null, seed=4)
    )
    assert np.allclose(found.table["p"], slow_p(values, labels, mean_difference, null, n, 4))
    assert np.allclose(found.table["mean_difference"], mean_difference(values, labels))


def test_p_values_equal_a_slow_loop_when_labels_vary_in_blocks():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(12), rng.integers(3, 7, 12))
    labels = rng.integers(0, 2, len(block))
    values = rng.standard_normal((len(block), 5)) + rng.standard_normal((12, 5))[block] * 0.1
    found = quiet(
        values,
        labels,
        score="mean_difference",
        exchange=block,
        test=Test(n_permutations=99, seed=1),
    )
    slow = slow_p(values, labels, mean_difference, PermutedLabels(), 99, 1, block)
    assert np.allclose(found.table["p"], slow)


def test_sums_by_block_give_the_scores_of_all_samples():
    # Whole blocks of unequal length: draws are made of blocks, scores of samples.
    rng = np.random.default_rng(2)
    block = np.repeat(rng.permutation(10), rng.integers(1, 6, 10))
    labels = (block % 2).astype(bool)
    values = rng.standard_normal((len(block), 4))
    first = np.unique(block, return_index=True)[1]
    drawn = labels[first][PermutedLabels().draw(labels[first], 20, seed=0)][:, np.unique(block)]
    for score, function in (("mean_difference", mean_difference), ("auroc", None)):
        found = quiet(values, labels, score=score, exchange=block, test=Test(n_permutations=20))
        if function is not None:
            draws = np.array([function(values, row[block]) for row in drawn])
            assert np.allclose(found.table["null_mean"], draws.mean(axis=0), atol=1e-6)
            assert np.allclose(found.table["null_sd"], draws.std(axis=0, ddof=1), atol=1e-6)


@pytest.mark.parametrize("score", ["auroc", "average_precision"])
def test_ranked_scores_with_ties_equal_sklearn(score):
    from sklearn import metrics

    rng = np.random.default_rng(3)
    values = np.round(rng.standard_normal((80, 6)), 0)
    labels = rng.integers(0, 2, 80)
    function = {
        "auroc": metrics.roc_auc_score,
        "average_precision": metrics.average_precision_score,
    }
    found = quiet(values, labels, score=score, test=Test(n_permutations=30))
    expected = [function[score](labels, v) for v in values.T]
    assert np.allclose(found.table[score], expected)
    index = PermutedLabels().draw(labels, 30, seed=0)
    draws = [[function[score](labels[i], v) for v in values.T] for i in index]
    assert np.allclose(found.table["null_mean"], np.mean(draws, axis=0))


@pytest.mark.parametrize("score", ["correlation", "spearman"])
def test_numbers_are_correlated(score):
    from scipy import stats

    rng = np.random.default_rng(3)
    x = rng.standard_normal((50, 3))
    y = x[:, 1] + 0.5 * rng.standard_normal(50) + 1000
    found = quiet(x, y, score=score, test=Test(n_permutations=200))
    function = {"correlation": stats.pearsonr, "spearman": stats.spearmanr}[score]
    assert np.allclose(found.table[score], [function(v, y)[0] for v in x.T])
    assert found.significant().units == ["unit[1]"]
    with pytest.raises(NisslError, match="these are numbers"):
        quiet(x, y, score="auroc")


def test_each_label_is_tested_against_the_rest_and_corrected_together():
    rng = np.random.default_rng(0)
    labels = np.array(["red", "green", "blue"])[np.arange(90) % 3]
    values = rng.standard_normal((90, 5))
    values[labels == "green", 3] += 3
    found = quiet(values, labels, score="average_precision", test=Test(n_permutations=200))
    assert len(found) == 15
    hit = found.significant().table
    assert (hit["unit"][0], hit["label"][0]) == ("unit[3]", "green")
    assert len(hit) == 1
    assert found.provenance["searched"] == "units x labels"
    assert found.provenance["n_tests"] == 15


def test_any_function_can_be_the_score():
    def spread(values, labels):
        return values[labels].std(axis=0) / values[~labels].std(axis=0)

    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2 == 0
    values = rng.standard_normal((60, 4))
    values[labels, 2] *= 6
    found = quiet(values, labels, score=spread, test=Test(n_permutations=200))
    assert found.significant().units == ["unit[2]"]
    assert found.score == "spread"


def test_a_score_that_is_not_a_number_is_not_tested():
    def ratio(values, labels):
        return values[labels].mean(axis=0) / (np.arange(3) != 1)

    values = np.random.default_rng(0).standard_normal((40, 3))
    with np.errstate(divide="ignore"):
        found = quiet(values, np.arange(40) % 2, score=ratio, test=Test(n_permutations=99))
    assert found.table["p"][1] == found.table["q"][1] == 1
    assert found.table["note"].str.startswith("not tested").tolist() == [False, True, False]


@pytest.mark.parametrize("score", ["cohens_d", "average_precision"])
@pytest.mark.parametrize("options", [{}, {"tail": "gpd", "correction": "bh"}])
def test_batches_of_units_change_nothing(score, options, monkeypatch):
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((40, 50)), np.arange(40) % 2
    test = Test(n_permutations=300, **options)
    whole = quiet(values, labels, score=score, test=test).table
    monkeypatch.setattr(permutation, "BATCH_BYTES", 1)
    monkeypatch.setattr(permutation, "BATCH_UNITS", 7)
    parts = quiet(values, labels, score=score, test=test).table
    assert np.allclose(whole["p"], parts["p"])
    assert np.allclose(whole["q"], parts["q"])


def test_units_that_cannot_be_tested_have_a_note_and_no_nan():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 4))
    values[:, 1], values[3, 2] = 7.0, np.nan
    for correction in ("max", "bh", "bonferroni"):
        found = quiet(
            values, np.arange(40) % 2, test=Test(n_permutations=99, correction=correction)
        )
        table = found.table
        assert table["note"].tolist() == [
            "",
            "not tested: does not vary",
            "not tested: holds NaN or infinity",
            "",
        ]
        assert table["p"].tolist()[1:3] == table["q"].tolist()[1:3] == [1.0, 1.0]
        assert found.provenance["n_tests"] == 2
    alone = quiet(
        values[:, [0, 3]], np.arange(40) % 2, test=Test(n_permutations=99, correction="bonferroni")
    )
    assert np.allclose(alone.table["q"], table["q"].iloc[[0, 3]])


def test_a_recording_brings_its_coordinates():
    rng = np.random.default_rng(0)
    fact = np.repeat(np.arange(20), 3)
    rec = as_recording(
        rng.standard_normal((60, 2)) + np.outer(fact % 2, [0, 4]),
        samples={"fact": fact, "relation": np.array(["capital", "author"])[fact % 2]},
        units={"site": ["a", "a"], "index": [0, 1], "layer": [0, 3]},
    )
    found = quiet(
        rec, "relation", test=Test(n_permutations=200, null=PermutedLabels(exchange="fact"))
    )
    assert found.table.columns[:5].tolist() == ["unit", "site", "index", "layer", "label"]
    assert set(found.significant().units) == {"a[1]"}
    assert found.null == "PermutedLabels(exchange='fact')"
    assert found.provenance["n_blocks"] == 20
    with pytest.raises(UnknownName, match="relation"):
        quiet(rec, "relatoin", exchange="fact")


def test_dependent_samples_are_refused():
    rng = np.random.default_rng(0)
    walk = rng.standard_normal((200, 4)).cumsum(axis=0)
    labels = np.arange(200) // 25 % 2
    with pytest.raises(NotExchangeable, match=r"autocorrelation 0\.9"):
        quiet(walk, labels)
    rec = as_recording(
        rng.standard_normal((40, 2)),
        samples={"document": np.arange(40) // 4, "y": np.arange(40) % 2},
    )
    with pytest.raises(NotExchangeable, match="samples of one 'document'"):
        quiet(rec, "y")
    # One sample a document: they are independent.
    alone = as_recording(rng.standard_normal((40, 2)), samples={"document": np.arange(40)})
    assert len(quiet(alone, np.arange(40) % 2, test=Test(n_permutations=99))) == 2


def test_autocorrelation_within_blocks_is_refused_where_labels_are_permuted_within():
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(8), np.arange(20, 28))
    walk = rng.standard_normal((len(block), 4)).cumsum(axis=0)
    labels = rng.integers(0, 2, len(block))
    with pytest.raises(NotExchangeable, match="within the declared blocks"):
        quiet(walk, labels, exchange=block)
    # Declared alone by the caller, who gave the labels at random.
    assert (
        len(quiet(walk, labels, exchange=np.arange(len(block)), test=Test(n_permutations=99))) == 4
    )


def test_too_few_blocks_are_refused_with_the_least_p():
    values, block = np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) // 10
    # Two blocks against two: six arrangements, and two of them equally far out.
    with pytest.raises(NotExchangeable, match=r"only 6 .* below 0.33"):
        quiet(values, block % 2, exchange=block)
    with pytest.raises(NotExchangeable, match=r"only 6 .* below 0.17"):
        quiet(values, block % 2, exchange=block, test=Test(alternative="greater"))
    found = quiet(values, block % 2, exchange=block, test=Test(n_permutations=999, smallest_p=0.4))
    assert found.provenance["least_p"] == pytest.approx(1 / 3)
    assert found.table["p"].min() > 0.28
    with pytest.raises(NisslError, match="many different arrangements"):
        quiet(values, block % 2, exchange=block, test=Test(tail="gpd", smallest_p=0.4))


def every_labelling(labels, block=None):
    """All different labellings: of samples, or inside each block."""
    block = np.zeros(len(labels), int) if block is None else np.asarray(block)
    parts = [set(permutations(labels[block == b])) for b in np.unique(block)]
    for ways in product(*parts):
        row = np.empty_like(labels)
        for b, way in zip(np.unique(block), ways, strict=True):
            row[block == b] = way
        yield row


def exact_p(x, labels, statistic, block=None):
    drawn = np.array([statistic(x, row) for row in every_labelling(labels, block)])
    far = np.abs(drawn - drawn.mean())
    return np.mean(far >= abs(statistic(x, labels) - drawn.mean()) - 1e-9)


STATISTICS = {
    "mean_difference": lambda x, y: x[y == 1].mean() - x[y == 0].mean(),
    "cohens_d": lambda x, y: (
        (x[y == 1].mean() - x[y == 0].mean())
        / np.sqrt(sum(x[y == k].var(ddof=1) * ((y == k).sum() - 1) for k in (0, 1)) / (len(x) - 2))
    ),
    "auroc": lambda x, y: stats.mannwhitneyu(x[y == 1], x[y == 0]).statistic,
    "correlation": lambda x, y: stats.pearsonr(x, y)[0],
    "spearman": lambda x, y: stats.spearmanr(x, y)[0],
}


@pytest.mark.parametrize(
    ("labels", "block"),
    [
        (np.repeat([0, 1], 4), None),
        (np.array([0, 0, 1, 1, 1, 1, 0]), None),
        (np.array([0, 1, 0, 1, 0, 1, 1, 0]), np.repeat(np.arange(4), 2)),
        (np.array([0, 1, 1, 0, 1, 0, 1]), np.repeat([0, 1], [3, 4])),
    ],
    ids=["balanced", "unbalanced", "pairs", "strata"],
)
@pytest.mark.parametrize("score", STATISTICS)
def test_few_labellings_are_all_tried_and_p_is_exact(labels, block, score):
    # Tied values: the mirror image of a labelling is as extreme, whatever the seed.
    values = (labels * 10.0 + np.array([1, 2, 3, 4, 1, 2, 3, 4])[: len(labels)])[:, None]
    values = np.column_stack([values, np.random.default_rng(0).integers(0, 4, values.shape)])
    null = PermutedLabels(how="within")
    for seed in (0, 1):
        test = Test(null=null, smallest_p=0.2, seed=seed)
        found = quiet(values, labels, score=score, exchange=block, test=test)
        exact = [exact_p(x, labels, STATISTICS[score], block) for x in values.T]
        assert found.table["p"].tolist() == pytest.approx(exact)
        assert (found.table["q"] >= found.table["p"]).all()


@pytest.mark.parametrize("score", ["mean_difference", "auroc", "spearman"])
def test_mirror_images_are_counted_among_random_draws_too(score):
    # 6 against 6 fully separated: two of 924 labellings are as far out, one on either side.
    labels = np.repeat([0.0, 1.0] if score == "spearman" else [0, 1], 6)
    x = labels * 10 + np.tile([1.0, 2, 3], 4)
    found = [
        quiet(x[:, None], labels, score=score, test=Test(n_permutations=900, seed=seed))
        for seed in range(8)
    ]
    p = np.array([f.table["p"][0] for f in found])
    reached = np.round(p * 901 - 1)
    # Each draw reaches it with probability 2 / 924; one side alone would be half of that.
    assert stats.binomtest(int(reached.sum()), 8 * 900, 2 / 924).pvalue > 0.01
    assert p.min() >= 2 / 924 - 1e-12


@pytest.mark.parametrize("tail", ["permutation", "normal", "gpd"])
@pytest.mark.parametrize("score", ["mean_difference", "auroc", "cohens_d"])
@pytest.mark.parametrize(
    ("alternative", "least"), [("two-sided", 2 / 12870), ("greater", 1 / 12870)]
)
def test_no_p_is_below_one_in_the_labellings(tail, score, alternative, least):
    labels = np.arange(16) % 2
    x = np.random.default_rng(0).standard_normal((16, 4)) + 40 * labels[:, None]
    for correction in ("max", "bh", None):
        test = Test(tail=tail, correction=correction, alternative=alternative)
        found = quiet(x, labels, score=score, test=test).table
        assert found["p"].min() >= least - 1e-12
        assert correction is None or (found["q"] >= found["p"]).all()


@pytest.mark.parametrize("score", ["average_precision", "auroc", "spearman", "mean_difference"])
def test_ranks_do_not_depend_on_the_seed(score):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3 == 0
    y = labels + 0.01 * rng.random(60) if score == "spearman" else labels
    # All separate the labels perfectly, by gaps that differ; 500 more tell nothing.
    x = rng.standard_normal((60, 540))
    gap = rng.permutation(np.linspace(9, 40, 40))
    x[:, :40] = np.where(labels[:, None], gap, 0) + rng.random((60, 40))
    if score == "spearman":
        x[:, :40] = np.argsort(np.argsort(y))[:, None] ** np.linspace(1, 4, 40)
    found = [
        quiet(x, y, score=score, test=None if s is None else Test(n_permutations=200, seed=s))
        for s in (None, 0, 1, 2)
    ]
    tops = [f.top(60).units for f in found]
    assert tops[0] == tops[1] == tops[2] == tops[3]
    assert found[1].significant().top(20).units == tops[0][:20]
    if score == "spearman":
        r = np.abs([stats.pearsonr(x[:, k], stats.rankdata(y))[0] for k in range(40)])
    else:
        d = [STATISTICS["cohens_d"](x[:, k], labels.astype(int)) for k in range(40)]
        r = gap if score == "mean_difference" else np.array(d)
    if score != "mean_difference":
        assert tops[0][:40] == [f"unit[{k}]" for k in np.argsort(-r)]


@pytest.mark.parametrize("kind", [bool, np.uint8, np.uint64, np.int8, np.float32, object])
def test_truths_of_any_type_are_one_test_a_unit(kind):
    x, y = np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) % 2 == 0
    made = quiet(x, y.astype(kind), test=Test(n_permutations=99)).table
    assert made.equals(quiet(x, y, test=Test(n_permutations=99)).table)
    for gap in (None, np.nan):
        with pytest.raises(NisslError, match="labels holds"):
            quiet(x, np.array(["a", gap] * 20, dtype=object))


@pytest.mark.parametrize("scale", [1e-150, 1e-17, 1e17, 1e150])
@pytest.mark.parametrize("score", ["correlation", "spearman"])
def test_the_scale_of_numbers_changes_nothing(scale, score):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(50)
    x = (y + 0.1 * rng.standard_normal(50))[:, None]
    expected = {"correlation": stats.pearsonr, "spearman": stats.spearmanr}[score](x[:, 0], y)[0]
    for a, b in ((x, y * scale), (x * scale, y), (x, 1e6 * scale + y * scale)):
        found = quiet(a, b, score=score, test=Test(n_permutations=99)).table
        assert found[score][0] == pytest.approx(expected, abs=1e-7)
        assert found["p"][0] == 0.01


def test_cohens_d_is_exact_however_far_groups_lie_apart():
    labels = np.arange(16) % 2
    noise = np.random.default_rng(0).standard_normal((16, 1))
    for far in (1.0, 1e3, 1e5, 1e9):
        x = far * labels[:, None] + noise
        found = quiet(x, labels, test=Test(n_permutations=2000)).table
        d = STATISTICS["cohens_d"](x[:, 0], labels)
        assert found["cohens_d"][0] == pytest.approx(d, rel=1e-6)
        assert cohens_d(x, labels)[0] == pytest.approx(d, rel=1e-6)
        assert far == 1 or found["p"][0] <= 5 / 2001  # the same labelling, and its mirror image
    found = quiet(labels[:, None] * 1.0, labels).table
    assert np.isfinite(found["cohens_d"][0])
    assert found["p"][0] < 0.01


def test_the_null_names_the_blocks_that_it_was_given():
    rec = as_recording(
        np.random.default_rng(0).standard_normal((40, 2)),
        samples={"fact": np.arange(40) // 2, "y": np.arange(40) // 2 % 2 == 0},
    )
    test = Test(n_permutations=99)
    assert quiet(rec, "y", exchange="fact", test=test).null == "PermutedLabels(exchange='fact')"
    blocks = quiet(rec, "y", exchange=np.arange(40) // 2, test=test).null
    assert blocks == "PermutedLabels(exchange='(given)')"
    shift = Test(n_permutations=99, null=CircularShift(), smallest_p=1)
    assert "within='fact'" in quiet(rec, "y", exchange="fact", test=shift).null


def test_average_precision_by_chance_is_the_mean_over_all_orders():
    from sklearn.metrics import average_precision_score

    for n, k in ((5, 2), (6, 1), (4, 4)):
        every = [
            average_precision_score(np.isin(np.arange(n), chosen), -np.arange(n))
            for chosen in combinations(range(n), k)
        ]
        assert scores.average_precision_by_chance(n, k) == pytest.approx(np.mean(every))


def test_a_circular_shift_makes_no_more_draws_than_it_has_shifts():
    values = np.random.default_rng(0).standard_normal((50, 2))
    found = quiet(
        values,
        np.sin(np.arange(50)),
        score="correlation",
        test=Test(null=CircularShift(min_shift=10)),
    )
    assert found.provenance["n_permutations"] == 31


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"score": "aurok"}, "auroc"),
        ({"test": Test(null=MatchedUnits())}, "another question"),
        ({"exchange": [0, 1]}, "shape"),
        ({"exchange": "document"}, "bare array"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(NisslError, match=says):
        quiet(np.random.default_rng(0).standard_normal((20, 2)), np.arange(20) % 2, **options)


@pytest.mark.parametrize("labels", [np.zeros(20), np.full(20, np.nan), np.arange(19) % 2])
def test_bad_labels_are_refused(labels):
    with pytest.raises(NisslError):
        quiet(np.random.default_rng(0).standard_normal((20, 2)), labels)


def test_extreme_effects_reach_p_below_a_millionth_only_through_a_tail():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 2 == 0
    values = rng.standard_normal((300, 30)) + 0.7 * np.outer(labels, np.arange(30) == 5)
    from scipy import stats

    exact = stats.ttest_ind(values[labels, 5], values[~labels, 5]).pvalue
    got = {
        tail: quiet(values, labels, test=Test(tail=tail, correction="bh")).table.loc[5]
        for tail in ("permutation", "normal", "gpd")
    }
    assert got["permutation"]["p"] == pytest.approx(1 / 1001)
    assert abs(np.log10(got["normal"]["p"] / exact)) < 1
    assert exact / 100 < got["gpd"]["p"] < 1e-4
    assert [got[t]["tail"] for t in got] == ["permutation", "normal", "gpd"]


def test_products_of_torch_are_those_of_numpy():
    values = np.random.default_rng(0).standard_normal((40, 5))
    labels = np.arange(40) % 2
    here, there = (quiet(values, labels, device=d).table for d in (None, "cpu:0"))
    assert np.allclose(here["cohens_d"], there["cohens_d"])
    assert np.allclose(here["p"], there["p"])


def test_a_recording_on_disk_is_read_in_batches_of_units(tmp_path, monkeypatch):
    import xarray as xr

    monkeypatch.setattr(permutation, "BATCH_BYTES", 1)
    monkeypatch.setattr(permutation, "BATCH_UNITS", 6)

    rng = np.random.default_rng(0)
    rec = as_recording(rng.standard_normal((60, 20)), samples={"y": np.arange(60) % 2})
    bare = rec.rename("activity").drop_vars("unit").to_dataset()
    bare.to_zarr(tmp_path / "rec.zarr", consolidated=False)
    lazy = xr.open_zarr(tmp_path / "rec.zarr", chunks=None, consolidated=False)["activity"]
    lazy = lazy.assign_coords(unit=rec["unit"].values)
    a, b = (quiet(r, "y", test=Test(n_permutations=99)).table for r in (rec, lazy))
    assert a.equals(b)


def test_without_a_test_there_are_scores_alone():
    values, labels = np.random.default_rng(0).standard_normal((20, 3)), np.arange(20) % 2
    scored, tested = quiet(values, labels, test=None, method="m"), quiet(values, labels)
    assert scored.table["cohens_d"].tolist() == tested.table["cohens_d"].tolist()
    assert not {"p", "q", "effect"} & set(scored.table)
    assert (scored.method, scored.null) == ("m", "none")
    with pytest.raises(NisslError, match="has no null"):
        scored.significant()
    # Nothing is permuted, so that nothing need be exchangeable.
    assert len(quiet(values.cumsum(axis=0), np.arange(20) // 10, test=None)) == 3
