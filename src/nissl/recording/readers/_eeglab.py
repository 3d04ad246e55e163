"""EEGLAB ``.set`` files: sizes compared and gaps found, before and after MNE reads them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.recording.free_memory import require_memory
from nissl.recording.readers._files import damaged
from nissl.recording.readers._mat5 import load_variable, require_whole, variables
from nissl.recording.readers._matlab import is_hdf5

__all__ = ["open_eeglab"]


def open_eeglab(mne: Any, path: Path) -> tuple[Any, Any, Any]:
    """Return what MNE makes of a file, and of a continuous one its times and annotations.

    Parameters
    ----------
    mne : module
        MNE.
    path : Path
        A ``.set``, with its numbers inside or in an ``.fdt`` beside it.

    Returns
    -------
    source : mne.io.BaseRaw or mne.BaseEpochs
        Epochs where there are several trials.
    times : array, shape (n_samples,), or None
        Seconds from the first sample, with a gap where something was cut out.
    notes : mne.Annotations or None
        At these times; boundaries that say how much was cut out are no annotations any more.

    Raises
    ------
    NisslError
        It is of version 7.3, or states other sizes than it holds.
    """
    if is_hdf5(path):
        raise NisslError(
            "this EEGLAB file is one of MATLAB 7.3, which is not read",
            where=str(path),
            do="save it again in EEGLAB: pop_saveset(EEG, 'filename', ..., 'version', '6')",
        )
    n_trials, inside = _require_sizes(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The data contains 'boundary' events")
        if n_trials > 1:
            return mne.read_epochs_eeglab(path, verbose="warning"), None, None
        # Only in memory do numbers of the file itself keep their precision.
        raw = mne.io.read_raw_eeglab(path, preload=inside, verbose="warning")
    return raw, *_past_boundaries(mne, path, raw)


def _require_sizes(path: Path) -> tuple[int, bool]:
    """Return the number of trials, and whether the numbers lie in the file itself."""
    fields: dict[str, Any] = {}
    for variable in variables(path):
        if variable.name == "data" and variable.kind != "char":
            require_whole(path, variable)  # MNE reads it; its shape is enough here
            fields["data"] = variable.shape
        else:
            fields[variable.name] = load_variable(path, variable)
    while "EEG" in fields and fields["EEG"].dtype.names and fields["EEG"].size == 1:
        struct = fields.pop("EEG")
        fields = {name: struct[name].item() for name in struct.dtype.names}
    if "data" not in fields:
        raise NisslError(
            f"the file holds no EEG of EEGLAB, but {', '.join(fields) or 'nothing'}",
            where=str(path),
            do="give one set, saved by pop_saveset; a study or ALLEEG holds several",
        )
    counts = [int(np.asarray(fields.get(n, 1)).item()) for n in ("nbchan", "pnts", "trials")]
    data = fields["data"]
    shape = data if isinstance(data, tuple) else data.shape
    n = math.prod(counts)
    stated = " x ".join(f"{count:,}" for count in counts)
    if min(counts) < 1:
        raise damaged(path, "EEGLAB", f"it states {stated} numbers")
    inside = isinstance(data, tuple) or data.dtype.kind != "U"
    if not inside:
        _require_data(path, str(data.item()) if data.size else "", n, stated)
    elif shape[0] != counts[0] or math.prod(shape) != n:
        raise damaged(path, "EEGLAB", f"it states {stated} numbers and holds {shape}")
    if inside or counts[2] > 1:
        require_memory(3 * 8 * n, "the recording", where=str(path), do="save a part of it")
    return counts[2], inside


def _require_data(path: Path, name: str, n: int, stated: str) -> None:
    """Refuse numbers that lie elsewhere than beside the file, or are not as many as it states."""
    beside = path.with_name(name) if name and Path(name).name == name else path
    beside = beside if beside != path and beside.is_file() else path.with_suffix(".fdt")
    if Path(name).name != name or not beside.is_file():
        raise damaged(path, "EEGLAB", f"its numbers are in '{name}', which is not beside it")
    if (there := beside.stat().st_size) != 4 * n:
        raise damaged(beside, "EEGLAB", f"{stated} numbers need {4 * n:,} bytes, not {there:,}")


def _past_boundaries(mne: Any, path: Path, raw: Any) -> tuple[Any, Any]:
    """Return the times and annotations with a gap at every boundary, as long as what was cut out.

    A boundary without a length (of files joined together) is a gap of one sample, and is said.
    """
    rate, notes = float(raw.info["sfreq"]), raw.annotations
    if "boundary" in notes.description:
        notes = mne.read_annotations(path)  # those of `raw` end where the recording does
    is_boundary = notes.description == "boundary"
    at = np.asarray(notes.onset) * rate
    at = np.where(is_boundary, np.ceil(at - 1e-6), at)  # the first sample behind it
    inner = is_boundary & (at > 0) & (at < raw.n_times)
    length = np.asarray(notes.duration)
    told = np.isfinite(length) & (length > 0)
    if unknown := int((inner & ~told).sum()):
        warnings.warn(
            f"{path}: {unknown} boundaries do not say how much was cut out; in `time` there is a"
            " gap of one sample",
            stacklevel=6,
        )
    order = np.argsort(at[inner], kind="stable")
    cuts = at[inner][order]
    shift = np.append(0.0, np.cumsum(np.where(told, length, 1 / rate)[inner][order]))

    def later(sample: Any) -> Any:
        return sample / rate + shift[np.searchsorted(cuts, sample, side="right")]

    kept = ~is_boundary | (inner & ~told)
    onset, stop = later(at[kept]), later(at[kept] + np.nan_to_num(length[kept]) * rate)
    words = notes.description[kept]
    return later(np.arange(raw.n_times)), mne.Annotations(onset, stop - onset, words)
