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

DTYPES = ("float32", "bfloat16", "float16")


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
        shape = self.grids[0].n_samples(self.plan), n_units
        names = [grid.site.name for grid in self.grids]
        kind = self._kind()
        if self.out is None:
            require_memory(
                shape[0] * shape[1] * kind.itemsize,
                "the recording",
                do="give store='folder.zarr' to write it to disk, or fewer sites or texts",
            )
            # Not torch.empty: numpy asks for huge pages, whose first touch is far cheaper.
            self.out = np.empty(shape, dtype=kind)
        _check_out(self.out, shape, None if self.dtype is None else kind, names)
        self._may_overflow = self.out.dtype == "float16" or self.dtype == "bfloat16"
        self.values = self.out
        self.tensor = torch.from_numpy(self.values)
        ends = np.cumsum([grid.width for grid in self.grids])
        self.columns = {
            n: (int(e) - g.width, int(e)) for n, e, g in zip(names, ends, self.grids, strict=True)
        }

    def _kind(self) -> np.dtype[Any]:
        """Return the type of the array; numpy has no bfloat16, whose values are kept as float32."""
        if self.dtype not in (None, *DTYPES):
            raise NisslError(
                f"a recording is not kept as {self.dtype!r}", do=f"choose {', '.join(DTYPES)}"
            )
        if self.dtype is None and self.net.dtype == torch.float64:
            return np.dtype("float64")
        return np.dtype("float16" if self.dtype == "float16" else "float32")

    def write(self, grid: Grid, x: Tensor, step: Step) -> None:
        """Copy a site's tensor of one call to its place."""
        left, right = self.columns[grid.site.name]
        rows = grid.rows(x, step)
        start = grid.start(step)
        part = self.tensor[start : start + len(rows), left:right]
        part.copy_(rows.bfloat16() if self.dtype == "bfloat16" else rows)
        if not bool(torch.isfinite(rows.sum())) or self._may_overflow:
            self._look(grid, rows, part)

    def _look(self, grid: Grid, rows: Tensor, part: Tensor) -> None:
        """Refuse an overflow on the cast; count what was not finite before it."""
        finite = torch.isfinite(rows)
        lost = (finite.cpu() & ~torch.isfinite(part)).nonzero()
        if len(lost):
            sample, unit = map(int, lost[0])
            raise NisslError(
                f"{float(rows[sample, unit]):.4g} overflows {self.dtype or self.values.dtype}",
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


def _check_out(
    out: np.ndarray[Any, Any], shape: tuple[int, int], kind: Any, names: list[str]
) -> None:
    """Refuse an array that a recording does not fit."""
    where = ", ".join(names[:3])
    if not isinstance(out, np.ndarray) or out.dtype not in ("float64", "float32", "float16"):
        given = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise NisslError(f"`out` is {given}, not an array of floating point numbers", where=where)
    if out.shape != shape:
        raise NisslError(f"`out` has shape {out.shape}; the recording is {shape}", where=where)
    if kind is not None and out.dtype != kind:
        raise NisslError(
            f"`out` is {out.dtype}, and dtype asks for {kind}", where=where, do="give one of them"
        )
    if not out.flags.writeable:
        raise NisslError("`out` cannot be written to", where=where)


def _warn(nonfinite: Mapping[str, int]) -> None:
    import warnings

    some = ", ".join(f"{unit} ({count})" for unit, count in list(nonfinite.items())[:3])
    warnings.warn(
        f"{sum(nonfinite.values())} values of {len(nonfinite)} units are NaN or infinite: {some}; "
        "they are counted in attrs['nonfinite'], and statistics leave them out",
        stacklevel=4,
    )
