import numpy as np
import pandas as pd

from nissl.statistics import Finding
from nissl.statistics.figure import draw_finding


def test_every_row_is_drawn_and_the_significant_are_marked(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "unit": [f"u[{i}]" for i in range(50)],
            "layer": np.arange(50) % 5,
            "auroc": rng.random(50),
            "effect": rng.standard_normal(50),
            "null_sd": 0.3,
            "p": 0.5,
            "q": np.where(np.arange(50) < 3, 0.01, 0.9),
        }
    )
    figure = draw_finding(Finding(table, "m", "n"))
    ranked, layers = figure.axes
    assert [len(c.get_offsets()) for c in ranked.collections[1:]] == [50, 3]
    assert [len(c.get_offsets()) for c in layers.collections] == [50, 3]
    drawn = np.asarray(ranked.collections[1].get_offsets())[:, 1]
    assert np.array_equal(drawn, np.sort(table["effect"])[::-1])
    assert ranked.get_legend().get_texts()[1].get_text() == "3 found"
    figure.savefig(tmp_path / "found.png")
    assert (tmp_path / "found.png").stat().st_size > 5000
