"""The permutation test of 46,080 neurons: 1,000 permutations of 5,000 samples, beside its product.

The limit is the one matrix product (permutations x samples) by (samples x neurons) that the linear
scores need. Work and limit are measured in one process, interleaved, as process CPU time.
"""

from __future__ import annotations

import numpy as np

from bench.measure import Row, interleaved
from nissl.statistics import Test, permutation_test

N_UNITS, N_SAMPLES, N_PERMUTATIONS = 46_080, 5_000, 1_000


def run(n_units: int = N_UNITS, rounds: int = 3) -> list[Row]:
    """Return a row for each score and tail."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N_SAMPLES, n_units), dtype=np.float32)
    contrast = rng.random((N_PERMUTATIONS, N_SAMPLES), dtype=np.float32)
    half, few = np.arange(N_SAMPLES) % 2, np.arange(N_SAMPLES) % 50 == 0
    # Average precision is timed on a part and set against the product of that part.
    cases = [
        ("cohens_d", "permutation", half, n_units, 3.0),
        ("cohens_d", "gpd", half, n_units, 3.0),
        ("auroc", "permutation", half, n_units, 5.0),
        ("average_precision", "permutation", few, n_units // 16, 20.0),
    ]
    rows: list[Row] = []
    for score, tail, labels, n, target in cases:
        test = Test(n_permutations=N_PERMUTATIONS, tail=tail)
        options = {"score": score, "test": test, "progress": False}
        part = values[:, :n]
        permutation_test(part[:, :64], labels, **options)  # compiles
        arms = {
            "test": lambda p=part, y=labels, o=options: permutation_test(p, y, **o),
            "product": lambda p=part: _product(contrast, p),
        }
        seconds = interleaved(arms, rounds=rounds)
        rows.append(
            {
                "name": f"{n_units:,} neurons: {score}, {tail} tail",
                "ratio": seconds["test"] / seconds["product"],
                "unit": "x the product",
                "target": target,
                "limit": 1.0,
                "seconds": seconds["test"] * n_units / n,
            }
        )
    return rows


def _product(contrast: np.ndarray, values: np.ndarray) -> None:
    for a in range(0, values.shape[1], 1024):
        contrast @ np.ascontiguousarray(values[:, a : a + 1024])
