"""Trials in the text format of the sktime and aeon archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError

__all__ = ["read_ts"]


def read_ts(path: Path, n_channels: int) -> tuple[np.ndarray[Any, Any], list[str]]:
    r"""Read a file of the sktime family: a line a trial, channels and label separated by colons.

    Parameters
    ----------
    path : Path
        A ``.ts`` file with trials of one length.
    n_channels : int
        How many channels there should be.

    Returns
    -------
    values : array of float32, shape (n_trials, n_channels, n_times)
        The trials.
    labels : list of str
        The label of each.

    Raises
    ------
    NisslError
        There are no trials, or one differs in channels or length.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.ts"
    ...     _ = path.write_text("@data\n1,2,3:4,5,6:left\n")
    ...     read_ts(path, 2)[0].shape
    (1, 2, 3)
    """
    trials, labels = [], []
    with path.open(encoding="latin-1") as file:
        for line in file:
            if line.strip().lower() == "@data":
                break
        for number, line in enumerate(file):
            if not line.strip():
                continue
            *series, label = line.strip().split(":")
            trial = [np.asarray(channel.split(","), np.float32) for channel in series]
            if len(trial) != n_channels or len({len(channel) for channel in trial}) != 1:
                raise NisslError(
                    f"trial {number} has {len(trial)} channels, of lengths "
                    f"{sorted({len(c) for c in trial})}; there should be {n_channels} alike",
                    where=str(path),
                )
            trials.append(np.stack(trial))
            labels.append(label)
    if not trials:
        raise NisslError("the file has no trials", where=str(path), do="fetch it again")
    return np.stack(trials), labels
