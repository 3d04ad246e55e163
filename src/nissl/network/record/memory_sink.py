"""Recordings kept in memory: one array for all sites whose samples are the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.network.record.site_samples import units_of
from nissl.recording import Recording, as_recording
from nissl.recording.free_memory import require_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from nissl.network.record.site_samples import Grid
    from nissl.network.run.plan import Plan, Step
    from nissl.network.sites.base import BaseNetwork

__all__ = ["Memory"]


@dataclass
class Memory:
    """Recordings of sites with the same samples, side by side in one array."""

    net: BaseNetwork
    plan: Plan
    grids: list[Grid]
    dtype: str | None
    out: np.ndarray[Any, Any] | None = None
    nonfinite: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_units = sum(grid.width for grid in self.grids)
        n_samples = self.grids[0].n_samples(self.plan)
        kind = np.dtype("float16" if self.dtype == "float16" else "float32")
        if self.dtype is None and self.net.dtype == torch.float64:
            kind = np.dtype("float64")
        if self.out is None:
            require_memory(
                n_samples * n_units * kind.itemsize,
                "the recording",
                do="give store='folder.zarr' to write it to disk, or fewer sites or texts",
            )
            # Not torch.empty: numpy asks for huge pages, whose first touch is far cheaper.
            self.out = np.empty((n_samples, n_units), dtype=kind)
        if self.out.shape != (n_samples, n_units):
            raise NisslError(
                f"`out` has shape {self.out.shape}; the recording is {(n_samples, n_units)}",
                where=", ".join(grid.site.name for grid in self.grids[:3]),
            )
        self.values = self.out
        self.tensor = torch.from_numpy(self.values)
        ends = np.cumsum([grid.width for grid in self.grids])
        names = [grid.site.name for grid in self.grids]
        self.columns = {
            n: (int(e) - g.width, int(e)) for n, e, g in zip(names, ends, self.grids, strict=True)
        }

    def write(self, grid: Grid, x: Tensor, step: Step) -> None:
        """Copy a site's tensor of one call to its place."""
        left, right = self.columns[grid.site.name]
        rows = grid.rows(x, step)
        start = grid.start(step)
        part = self.tensor[start : start + len(rows), left:right]
        part.copy_(rows)
        if not bool(torch.isfinite(rows.sum())) or part.dtype == torch.float16:
            self._look(grid, rows, part)

    def _look(self, grid: Grid, rows: Tensor, part: Tensor) -> None:
        """Refuse an overflow on the cast; count what was not finite before it."""
        finite = torch.isfinite(rows)
        lost = (finite.cpu() & ~torch.isfinite(part)).nonzero()
        if len(lost):
            sample, unit = map(int, lost[0])
            raise NisslError(
                f"{float(rows[sample, unit]):.4g} overflows {self.dtype}",
                where=f"{grid.site.name}[{unit}], sample {sample} of its batch",
                do="record as float32 or bfloat16",
            )
        for unit in (~finite).any(0).nonzero().flatten().tolist():
            address = f"{grid.site.name}[{unit}]"
            count = int((~finite[:, unit]).sum())
            self.nonfinite[address] = self.nonfinite.get(address, 0) + count

    def recording(self, attrs: Mapping[str, str | int]) -> Recording:
        """Return what was written, with its coordinates."""
        units = units_of((grid.site, grid.width) for grid in self.grids)
        samples = self.grids[0].samples(self.plan)
        extra: dict[str, str | int] = {"sites": json.dumps([g.site.name for g in self.grids])}
        if self.nonfinite:
            _warn(self.nonfinite)
            extra["nonfinite"] = json.dumps(self.nonfinite)
        return as_recording(self.values, samples=samples, units=units, attrs={**attrs, **extra})


def _warn(nonfinite: Mapping[str, int]) -> None:
    import warnings

    some = ", ".join(f"{unit} ({count})" for unit, count in list(nonfinite.items())[:3])
    warnings.warn(
        f"{sum(nonfinite.values())} values of {len(nonfinite)} units are NaN or infinite: {some}; "
        "they are counted in attrs['nonfinite'], and statistics leave them out",
        stacklevel=4,
    )
