"""Rows of a table are those that pandas finds, whatever the groups hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nissl.atlas.page.table_rows import table_rows


@pytest.mark.parametrize("wanted", [[0], [3, 17, 99], [], [1000], list(range(100))])
def test_rows_are_those_of_pandas(tmp_path: Path, wanted: list[int]) -> None:
    rng = np.random.default_rng(0)
    row = rng.integers(100, size=500)
    table = pd.DataFrame(
        {"unit": [f"u{r}" for r in row], "row": row, "x": [[float(r)] for r in row]}
    )
    table.to_parquet(tmp_path / "t.parquet", row_group_size=37)
    found = table_rows(tmp_path / "t.parquet", "row", wanted)
    expected = table[table["row"].isin(wanted)].reset_index(drop=True)
    assert found["x"].map(lambda x: x[0]).tolist() == expected["row"].tolist()
    by_name = table_rows(tmp_path / "t.parquet", "unit", [f"u{r}" for r in wanted])
    assert by_name["row"].tolist() == expected["row"].tolist()
