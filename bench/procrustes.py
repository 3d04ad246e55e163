"""Procrustes distances beside netrep's algorithm, written out: two networks, the same stimuli.

Its LinearMetric at alpha=1 centres both sides, finds the rotations by a singular value
decomposition with vectors, applies them to the activity, and takes the angle of the two. The
package was not run. The angle follows from the singular values alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.measure import Row, in_turn, ratio
from nissl.alignment import Procrustes

SHAPES = ((2000, 200, 200), (1000, 500, 500), (1000, 500, 300), (500, 1500, 1500))


def run(rounds: int = 3) -> list[Row]:
    """Return one row for each number of stimuli and units, as multiples of the peer's speed."""
    rows = []
    for n, p, q in SHAPES:
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((n, p)), rng.standard_normal((n, q))
        y[:, : min(p, q) // 2] += x[:, : min(p, q) // 2]
        got: dict[str, float] = {}
        arms = {
            "peer": lambda x=x, y=y, got=got: got.update(peer=netrep(x, y)),
            "ours": lambda x=x, y=y, got=got: got.update(ours=Procrustes()(x, y)),
        }
        arms["ours"]()  # what is imported once
        seconds = in_turn(arms, rounds=rounds)
        times, said = ratio(seconds["peer"], seconds["ours"])
        rows.append(
            Row(
                name=f"{n:,} stimuli, {p:,} and {q:,} units",
                ratio=times,
                unit="x netrep",
                target=2.5,
                limit=None,
                seconds=float(np.median(seconds["ours"])),
                more_is_better=True,
                note=f"{said}; off by {abs(got['ours'] - got['peer']):.1g}",
            )
        )
    return rows


def netrep(x: Any, y: Any) -> float:
    """Return the angle as LinearMetric().fit_score does; the narrower side is filled with zeros."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    (mx, wx), (my, wy) = ((z.mean(axis=0), np.eye(width)) for z in (x, y))
    u, _, vt = np.linalg.svd((x - mx).T @ (y - my))
    turned = (x - mx) @ (wx @ u), (y - my) @ (wy @ vt.T)
    a, b = (z.ravel() for z in turned)
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))
