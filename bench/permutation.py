"""The permutation test of 46,080 neurons: 1,000 permutations of 5,000 samples, beside its product.

The limit is the one matrix product (permutations x samples) by (samples x neurons) that the linear
scores need. Work and limit are measured in one process, interleaved, as process CPU time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from nissl.statistics import permutation_test

N_UNITS, N_SAMPLES, N_PERMUTATIONS = 46_080, 5_000, 1_000


def run(n_units: int = N_UNITS, rounds: int = 3) -> list[dict[str, Any]]:
    """Return one row for each score and tail: name, ratio, target, limit, seconds, peak."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N_SAMPLES, n_units), dtype=np.float32)
    contrast = rng.random((N_PERMUTATIONS, N_SAMPLES), dtype=np.float32)
    half, few = np.arange(N_SAMPLES) % 2, np.arange(N_SAMPLES) % 50 == 0
    # Average precision is timed on a part and set against the product of that part.
    cases = [
        ("cohens_d", "permutation", half, n_units, 3.0),
        ("cohens_d", "gpd", half, n_units, 3.0),
        ("auroc", "permutation", half, n_units, 5.0),
        ("average_precision", "permutation", few, n_units // 16, 40.0),
    ]
    rows = []
    for score, tail, labels, n, target in cases:
        part = values[:, :n]
        permutation_test(part[:, :64], labels, score=score, tail=tail, progress=False)  # compile
        ours, limit = [], []
        for _ in range(rounds):
            ours.append(_cpu(lambda p=part, y=labels, s=score, t=tail: permutation_test(
                p, y, score=s, tail=t, n_permutations=N_PERMUTATIONS, progress=False)))  # fmt: skip
            limit.append(_cpu(lambda p=part: _product(contrast, p)))
        rows.append({
            "name": f"permutation test of {n_units:,} neurons: {score}, {tail} tail",
            "ratio": float(np.median(np.array(ours) / np.array(limit))),
            "target": target, "limit": 1.0, "unit": "x the matrix product",
            "seconds": float(np.median(ours)) * n_units / n,
        })  # fmt: skip
    return rows


def _product(contrast: np.ndarray, values: np.ndarray) -> None:
    for a in range(0, values.shape[1], 1024):
        contrast @ np.ascontiguousarray(values[:, a : a + 1024])


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    for row in run():
        print(f"{row['name']:70} {row['ratio']:6.2f} {row['unit']} ({row['seconds']:.0f} s CPU)")
