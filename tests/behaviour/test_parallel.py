"""Articles that are there in every language."""

import pandas as pd
import pytest

from nissl import NisslError
from nissl.behaviour import parallel


def test_articles_missing_or_doubled_in_a_language_are_left_out():
    rows = [("b", 1), ("a", 1), ("a", 2), ("b", 3), ("a", 3), ("a", 3), ("a", 4), ("b", 4)]
    texts = pd.DataFrame(rows, columns=["language", "article"])
    found = parallel(texts)
    assert found.values.tolist() == [["a", 1], ["b", 1], ["a", 4], ["b", 4]]
    with pytest.raises(NisslError, match="no article is there once in each of 2"):
        parallel(texts[texts["article"] == 3])
    with pytest.raises(NisslError, match="lang"):
        parallel(texts, labels="lang")
