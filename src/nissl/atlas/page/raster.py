"""Rasters as the page draws them: a byte a cell, and the mean over trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nissl.atlas.page.statistic import as_base64, rates
from nissl.atlas.page.words import arrays_of, rounded

__all__ = ["rasters_of"]


def rasters_of(folder: Path, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Read the rasters of some units.

    Parameters
    ----------
    folder : Path
        The atlas.
    rows : sequence of int
        The units.

    Returns
    -------
    dict
        Of each row what ``raster.js`` reads. An empty dict where its cells are missing from the
        file; no entry where it has no sample, or the atlas no rasters.

    Raises
    ------
    ValueError
        What says where its rows and columns lie is missing from the file.

    Examples
    --------
    >>> rasters_of(Path("no-such-atlas"), [0])
    {}
    """
    from nissl.atlas.raster import FULL

    arrays = arrays_of(folder)
    if arrays is None or "raster" not in arrays:
        return {}
    about = json.loads((folder / "atlas.json").read_text(encoding="utf-8"))
    told, (scale, rate) = about["raster"], rates(about)
    starts, edges = (np.asarray(arrays[f"raster_{name}"]) for name in ("start", "edges"))
    # Zarr reads a file that is missing as its fill value.
    if not (np.isfinite(starts).all() and np.isfinite(edges).all()):
        raise ValueError("the axes of rasters are missing")
    shared = {
        "rows": told["rows"],
        "n": told["n"],
        "each": told["each"],
        "measure": told["measure"],
        "starts": [rounded(v) for v in starts] if not told["rows"] else starts.astype(int).tolist(),
        "ends": [rounded(edges[0]), rounded(edges[-1])],
        "columns": len(edges) - 1,
    }
    chosen = list(rows)
    ranges, means = (arrays[f"raster_{name}"].oindex[chosen] for name in ("range", "mean"))
    levels = arrays["raster"].oindex[chosen]
    found: dict[int, dict[str, Any]] = {}
    for row, cells, ends, mean in zip(chosen, levels, ranges, means, strict=True):
        if not (cells.any() and np.isfinite(ends).all()):
            if cells.any() or np.isfinite(ends).any():
                found[int(row)] = {}
            continue
        found[int(row)] = {
            **shared,
            "cells": as_base64(cells),
            "range": [rounded(v) for v in ends],
            "counts": bool(rate) and ends.tolist() == [0, FULL],
            "what": "spikes" if rate else str(about.get("units", "")),
        }
        if np.isfinite(mean).any():
            found[int(row)] |= {"mean": [rounded(scale * v) for v in mean], "rate": rate}
    return found
