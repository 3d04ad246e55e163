import numpy as np
import pytest
from sklearn import metrics

from nissl.errors import NisslError
from nissl.statistics import auroc, average_precision, cohens_d, mutual_information


@pytest.fixture(params=[0, 1, 6], ids=["many ties", "few ties", "no ties"])
def data(request):
    rng = np.random.default_rng(request.param)
    labels = rng.random(150) < 0.3
    return np.round(rng.standard_normal((150, 8)) + 0.5 * labels[:, None], request.param), labels


def test_auroc_and_average_precision_equal_sklearn(data):
    values, labels = data
    assert np.allclose(auroc(values, labels), [metrics.roc_auc_score(labels, v) for v in values.T])
    expected = [metrics.average_precision_score(labels, v) for v in values.T]
    assert np.allclose(average_precision(values, labels), expected)
    assert np.allclose(auroc(-values, labels), 1 - auroc(values, labels))


def test_cohens_d_equals_its_formula(data):
    values, labels = data
    a, b = values[labels], values[~labels]
    pooled = ((len(a) - 1) * a.var(0, ddof=1) + (len(b) - 1) * b.var(0, ddof=1)) / (len(labels) - 2)
    assert np.allclose(cohens_d(values, labels), (a.mean(0) - b.mean(0)) / np.sqrt(pooled))
    assert np.allclose(cohens_d(1e6 + values, labels), cohens_d(values, labels), atol=1e-7)


def test_mutual_information_equals_sklearn_on_the_same_bins():
    rng = np.random.default_rng(0)
    values, labels = rng.integers(0, 4, (200, 5)).astype(float), rng.integers(0, 3, 200)
    found = mutual_information(values, labels, bins=64, corrected=False)
    expected = [metrics.mutual_info_score(labels, v) / np.log(2) for v in values.T]
    assert np.allclose(found, expected)


def test_mutual_information_is_unbiased_where_there_is_none_and_whole_where_all():
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((400, 2000)), rng.integers(0, 4, 400)
    plain = mutual_information(values, labels, corrected=False)
    found = mutual_information(values, labels)
    assert plain.mean() > 0.03
    assert abs(found.mean()) < 0.002
    assert mutual_information(labels[:, None] * 1.0, labels)[0] == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("effect", [auroc, average_precision, cohens_d, mutual_information])
def test_units_that_are_not_finite_are_nan_and_leave_others_alone(effect):
    values = np.random.default_rng(0).standard_normal((30, 3))
    labels = np.arange(30) % 2 == 0
    broken = values.copy()
    broken[4, 1] = np.inf
    found = effect(broken, labels)
    assert np.isnan(found).tolist() == [False, True, False]
    assert np.array_equal(found[[0, 2]], effect(values, labels)[[0, 2]])


@pytest.mark.parametrize("effect", [auroc, average_precision, cohens_d, mutual_information])
def test_units_that_do_not_vary_have_no_effect(effect):
    labels = np.arange(30) % 3 == 0
    none = {auroc: 0.5, average_precision: 1 / 3, cohens_d: 0.0, mutual_information: 0.0}
    assert effect(np.full((30, 1), 0.1), labels)[0] == pytest.approx(none[effect], abs=1e-12)


def test_bad_labels_are_refused():
    with pytest.raises(NisslError, match="same label"):
        auroc(np.eye(3), [True, True, True])
    with pytest.raises(NisslError, match="shape"):
        auroc(np.eye(3), [True, False])
    for labels in ([1, 2, 2], ["a", "b", "b"], [0, 1, 2]):
        with pytest.raises(NisslError, match="which samples are positive"):
            cohens_d(np.eye(3), labels)
    assert np.array_equal(auroc(np.eye(3), [0, 1, 1]), auroc(np.eye(3), [False, True, True]))
    with pytest.raises(NisslError, match="bins"):
        mutual_information(np.eye(3), [0, 1, 1], bins=1)
