import numpy as np
import pytest

from nissl.errors import NisslError
from nissl.recording import as_recording
from nissl.statistics import Test, cross_validate, probe
from nissl.statistics.probes import control_labels


def tokens(n_documents=30, length=20, n_words=12, seed=0):
    rng = np.random.default_rng(seed)
    word = rng.integers(0, n_words, n_documents * length)
    return rng, word, np.repeat(np.arange(n_documents), length)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_selectivity_tells_what_is_encoded_from_what_is_memorised(kind):
    rng, word, document = tokens()
    label = word % 2
    # Site "plain" encodes the label; site "words" gives each word its own unit, so that any
    # labelling of words can be read from it; site "noise" encodes nothing.
    plain = label[:, None] + 0.3 * rng.standard_normal((600, 3))
    words = np.eye(12)[word] + 0.1 * rng.standard_normal((600, 12))
    noise = rng.standard_normal((600, 3))
    rec = as_recording(
        np.concatenate([plain, words, noise], axis=1),
        samples={"word": word, "label": np.array(["noun", "verb"])[label], "document": document},
        units={"site": ["plain"] * 3 + ["words"] * 12 + ["noise"] * 3, "index": range(18)},
    )
    found = probe(
        rec,
        "label",
        groups="document",
        types="word",
        kind=kind,
        test=Test(n_permutations=9),
        progress=False,
    )
    table = found.table.set_index("unit")
    assert table.loc["plain", "accuracy"] > 0.9
    assert table.loc["words", "accuracy"] > 0.95
    assert table.loc["plain", "effect"] > 0.2
    assert abs(table.loc["words", "effect"]) < 0.05
    assert table.loc["noise", "accuracy"] < 0.6
    assert table.loc["plain", "p"] == 0.1
    assert found.null == "control tasks"


def test_groups_are_not_in_both_parts():
    # Each block has a signature and a label of its own: nothing to generalise.
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(40), 10)
    values = rng.standard_normal((40, 60))[block] + 0.01 * rng.standard_normal((400, 60))
    labels = (np.arange(40) % 2)[block]
    leaky = cross_validate(values, labels, groups=np.arange(400), kind="ridge")
    honest = cross_validate(values, labels, groups=block, kind="ridge")
    assert leaky > 0.95
    assert honest < 0.75


def test_equals_sklearn_with_the_same_folds():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((90, 4)), rng.integers(0, 3, 90)
    values[:, 1] += labels
    block = np.arange(90) // 3
    fold = (np.random.default_rng(7).permutation(30) % 5)[block]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=1000))
    theirs = (cross_val_predict(model, values, labels, cv=PredefinedSplit(fold)) == labels).mean()
    ours = cross_validate(values, labels, groups=block, penalty=2.0, seed=7)
    assert ours == pytest.approx(theirs)


def test_control_labels_belong_to_types_and_keep_the_shares():
    _, word, _ = tokens(n_words=400)
    labels = (np.arange(600) % 5 == 0).astype(int)
    drawn = control_labels(labels, word, seed=3)
    assert all(len(np.unique(drawn[word == w])) == 1 for w in np.unique(word))
    assert 0.1 < drawn.mean() < 0.3
    assert not np.array_equal(drawn, control_labels(labels, word, seed=4))


def test_without_a_test_there_is_no_null_and_it_says_so():
    _, word, document = tokens()
    found = probe(
        np.eye(12)[word], word % 3, groups=document, test=None, kind="ridge", progress=False
    )
    assert found.null == "none"
    assert "p" not in found.table
    with pytest.raises(NisslError, match="no null"):
        found.significant()


def test_bad_probes_are_refused():
    values, labels = np.random.default_rng(0).standard_normal((20, 2)), np.arange(20) % 2
    with pytest.raises(NisslError, match="3 groups cannot be divided into 5 folds"):
        cross_validate(values, labels, groups=np.arange(20) % 3)
    with pytest.raises(NisslError, match="two types"):
        control_labels(labels, np.zeros(20))
    broken = values.copy()
    broken[0, 0] = np.nan
    with pytest.raises(NisslError, match="NaN"):
        probe(broken, labels, groups=np.arange(20), test=None, progress=False)
    with pytest.raises(NisslError, match="needs types"):
        probe(values, labels, groups=np.arange(20), progress=False)
    with pytest.raises(NisslError, match="one label to learn"):
        cross_validate(values, np.arange(20) == 3, groups=np.arange(20), n_folds=20)
