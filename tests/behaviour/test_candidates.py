"""Candidates: each query's own passage, those most like it in words, and others."""

import numpy as np
import pandas as pd
import pytest

from nissl import NisslError
from nissl.behaviour import candidates
from nissl.errors import UnknownName

WORDS = [f"word{i:02d}" for i in range(40)]


@pytest.fixture
def answered():
    rng = np.random.default_rng(0)
    passages = [" ".join(rng.choice(WORDS, 12)) for _ in range(30)]
    queries = [" ".join(passage.split()[:4]) for passage in passages]
    return pd.DataFrame({"query": queries, "passage": passages}, index=range(5, 35))


def test_half_of_the_others_share_most_with_the_query_and_none_is_there_twice(answered):
    from sklearn.feature_extraction.text import TfidfVectorizer

    pairs = candidates(answered, n=7)
    assert pairs["query"].unique().tolist() == answered["query"].tolist()
    words = TfidfVectorizer(sublinear_tf=True).fit(answered["passage"])
    all_passages = words.transform(answered["passage"]).toarray()
    for query, rows in pairs.groupby("query", sort=False):
        own = answered.loc[answered["query"] == query, "passage"].item()
        assert rows["relevant"].tolist() == [True] + 6 * [False]
        assert rows["passage"].iloc[0] == own
        assert rows["passage"].nunique() == 7
        asked = words.transform([query]).toarray()[0]
        like = {p: float(asked @ v) for p, v in zip(answered["passage"], all_passages, strict=True)}
        del like[own]
        nearest = sorted(like, key=lambda passage: -like[passage])[:3]
        assert rows["passage"].iloc[1:4].tolist() == nearest
        assert not set(rows["passage"].iloc[4:]) & {own, *nearest}


def test_queries_and_passages_at_random_come_from_the_seed(answered):
    one, same, other = (candidates(answered, n=4, n_queries=9, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    assert one["query"].nunique() == 9
    assert set(one["query"]) != set(other["query"])


@pytest.mark.parametrize("n", [1, 31])
def test_what_cannot_be_is_refused(answered, n):
    with pytest.raises(NisslError, match=f"{n} candidates of 30"):
        candidates(answered, n=n)
    with pytest.raises(UnknownName, match="passage"):
        candidates(answered[["query"]], n=2)
