"""What pynapple does, run in the peers' environment: ``python spikes_inside.py``.

Nothing of nissl is imported here. Printed is one line of JSON: what counting takes, from a table of
spikes and from a group of units that is there, beside numpy by hand.
"""

from __future__ import annotations

import hashlib
import json
import time
from importlib.metadata import version
from typing import Any

import numpy as np

N_UNITS, N_SPIKES, SECONDS, BIN = 100, 5_000_000, 3600, 0.1
ROUNDS = 7
Array = np.ndarray[Any, Any]


def table() -> tuple[Array, Array]:
    """Return times in seconds, in no order and none on an edge, and units."""
    rng = np.random.default_rng(0)
    times = (rng.integers(0, SECONDS * 1_000_000, N_SPIKES) + 0.5) * 1e-6
    return times, rng.integers(0, N_UNITS, N_SPIKES)


def by_hand(times: Array, units: Array) -> Array:
    """Count as numpy does it quickest."""
    n = round(SECONDS / BIN)
    cells = (times / BIN).astype(np.int64) * N_UNITS + units
    return np.bincount(cells, minlength=n * N_UNITS).reshape(n, N_UNITS)


def digest(counts: Any) -> str:
    """Return what tells counts apart."""
    return hashlib.sha256(np.ascontiguousarray(counts, dtype="<i4").tobytes()).hexdigest()


def main() -> None:
    """Measure pynapple."""
    import pynapple as nap

    times, units = table()
    whole = nap.IntervalSet(0, SECONDS)

    def group() -> Any:
        each = {u: nap.Ts(np.sort(times[units == u])) for u in range(N_UNITS)}
        return nap.TsGroup(each, time_support=whole)

    there = group()
    arms = {
        "hand": lambda: by_hand(times, units),
        "count": lambda: there.count(BIN),
        "table": lambda: group().count(BIN),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(ROUNDS + 1):  # the first compiles
        for name, arm in arms.items():
            start = time.process_time()
            arm()
            seconds[name].append(time.process_time() - start)
    least = {name: min(values[1:]) for name, values in seconds.items()}
    print(
        json.dumps(
            {
                "version": version("pynapple"),
                "count": least["count"] / least["hand"],
                "table": least["table"] / least["hand"],
                "digest": digest(there.count(BIN).values),
            }
        )
    )


if __name__ == "__main__":
    main()
