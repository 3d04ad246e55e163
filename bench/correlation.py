"""Streaming correlation: a layer's neurons with each other, with another's, and the best partners.

Ratios to one sgemm of the same shape in the same BLAS and process. All pairs of one layer need half
of its operations, so the limit of the symmetric case is 2.
"""

from __future__ import annotations

import numpy as np

from bench.measure import Row, interleaved
from nissl.statistics import Correlation, best_partners

N_SAMPLES, N_UNITS = 8192, 1536


def run(rounds: int = 5) -> list[Row]:
    """Return one row for each case, as multiples of the speed of sgemm."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_SAMPLES, N_UNITS), np.float32)
    y = rng.standard_normal((N_SAMPLES, N_UNITS), np.float32)
    wide = rng.standard_normal((2048, 3 * 4096), np.float32)
    own, other = Correlation(N_UNITS), Correlation(N_UNITS, N_UNITS)
    best_partners(wide[:, :64])
    seconds = interleaved(
        {
            "sgemm": lambda: x.T @ y,
            "own": lambda: own.update(x),
            "other": lambda: other.update(x, y),
            "partners": lambda: best_partners(wide),
        },
        rounds=rounds,
    )
    expected = np.corrcoef(x.T.astype(np.float64))
    error = float(np.abs(own.result()["r"] - expected).max())
    speed = 2 * N_SAMPLES * N_UNITS**2 / seconds["sgemm"]

    def row(name: str, arm: str, work: float, target: float, limit: float, note: str) -> Row:
        return Row(
            name=name,
            ratio=work / seconds[arm] / speed,
            unit="x sgemm",
            target=target,
            limit=limit,
            seconds=seconds[arm],
            more_is_better=True,
            note=note,
        )

    one = 2.0 * N_SAMPLES * N_UNITS**2
    all_pairs = 2.0 * wide.shape[0] * wide.shape[1] ** 2
    note = f"largest error {error:.1g} against float64"
    return [
        row("correlation of a layer with itself", "own", one, 1.8, 2.0, note),
        row("correlation of a layer with another", "other", one, 0.9, 1.0, "centred as it streams"),
        row("best partners of 12,288 units", "partners", all_pairs, 1.5, 2.0, "top 5 of all pairs"),
    ]
