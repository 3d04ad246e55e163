"""Series: activity in the order of time, cut into runs, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_series", "run_starts", "some_units"]

Array = NDArray[np.floating[Any]]


def read_series(
    rec: Any, *, least_units: int = 2
) -> tuple[Array, pd.DataFrame, NDArray[np.int64], float | None]:
    """Return series, units, the run of every sample (0, 1, ... in their order), and the rate."""
    import pandas as pd

    from nissl.recording import check, units_table
    from nissl.recording.preprocess import ENDS

    x = np.array(getattr(rec, "values", rec), dtype=np.float64)
    if x.ndim != 2 or len(x) < 3 or x.shape[1] < least_units:
        raise NisslError(
            f"series have shape {x.shape}", do=f"give 3 samples and {least_units} units at least"
        )
    ends, rate = np.zeros(len(x), bool), None
    if hasattr(rec, "coords"):
        units = units_table(check(rec)).reset_index(drop=True)
        coords = {str(n): np.asarray(c.values) for n, c in rec.coords.items() if "sample" in c.dims}
        for name in ENDS:
            if name in coords and len(np.unique(coords[name])) < len(x):
                ends[1:] |= coords[name][1:] != coords[name][:-1]
        if "time" in coords and coords["time"].dtype.kind in "fiu":
            apart = np.diff(coords["time"].astype(float))
            inside = apart[~ends[1:]]
            if not len(inside) or not (inside > 0).all():
                raise NisslError("times do not increase", where="time", do="sort samples by time")
            rate = float(1 / np.median(inside))
            ends[1:] |= apart * rate > 1.5
    else:
        units = pd.DataFrame({"unit": [f"unit[{i}]" for i in range(x.shape[1])]})
    bad = np.asarray(~np.isfinite(x).all(axis=0))
    if bad.any():
        raise NisslError(
            f"{bad.sum()} units hold NaN or infinity",
            where=some_units(units, bad),
            do="leave those units or samples out, or fill them",
        )
    return x, units, np.cumsum(ends), rate


def run_starts(stretch: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first sample of every run."""
    return np.flatnonzero(np.diff(stretch, prepend=-1) != 0)


def some_units(units: pd.DataFrame, which: NDArray[np.bool_]) -> str:
    """Name the first five of some units."""
    names = units["unit"].to_numpy()[which]
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
