"""The worm: how each neuron of C. elegans answers when another one is stimulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nissl.errors import UnknownName
from nissl.recording import Recording, as_recording
from nissl.specimens.recordings.source import folder_of, read_errors, source_files

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["atlas", "worm", "worm_pairs"]

UNLISTED = "unlisted"
#: Groups of ganglia, which hold the same neurons a second time.
GROUPS = ("head", "pharynx")


def worm(
    folder: str | Path | None = None,
    *,
    strain: Literal["wt", "unc31"] = "wt",
    autoresponse: bool = False,
    progress: bool = True,
) -> Recording:
    """Return the signal propagation atlas: samples are stimulated neurons, units those that answer.

    Parameters
    ----------
    folder : path, optional
        Where the package's files lie; fetched into the cache where not given.
    strain : {"wt", "unc31"}
        Wild type, or the mutant that cannot release dense-core vesicles.
    autoresponse : bool
        Keep the answer of a neuron to its own stimulation, which is no propagation and NaN
        otherwise.
    progress : bool
        Show how much has arrived, where the files are fetched.

    Returns
    -------
    Recording, shape (n_stimulated, n_observed)
        Mean change of fluorescence over trials, dF/F; NaN where a pair was never measured.
        Neurons never stimulated are not among the samples, those never observed not among the
        units. Samples: ``stimulus`` (the neuron), ``stimulus_ganglion``, ``stimulus_x``,
        ``stimulus_y``, ``stimulus_z``. Units: ``region`` (ganglion), ``x``, ``y``, ``z``
        (place in a canonical worm; y runs from head to tail; NaN for AWC on and off, whose side
        differs between animals).

    Raises
    ------
    UnknownName
        No such strain.
    NisslError
        A file cannot be read.

    Examples
    --------
    >>> rec = worm()  # doctest: +SKIP
    >>> rec.sel(unit="AVAL").values[:3]  # doctest: +SKIP

    Notes
    -----
    Trials of different pairs come from different animals and cannot be put side by side, which is
    why a sample is the mean over the trials of one stimulus. `worm_pairs` has the counts.

    Source: Randi et al. 2023, Nature 623:406; wormneuroatlas 0.0.7.3 (GPL-3 or later).
    """
    folder = folder_of("worm", folder, progress=progress)
    names, held = atlas(folder, strain)
    response, measured = held["dFF"].T, held["occ1"].T > 0  # the file has (observed, stimulated)
    response = np.where(measured, response, np.nan)
    if not autoresponse:
        np.fill_diagonal(response, np.nan)
    stimulated, observed = (np.isfinite(response).any(axis) for axis in (1, 0))
    anatomy = _anatomy(folder, names)
    return as_recording(
        response[np.ix_(stimulated, observed)].astype(np.float32),
        samples={
            "stimulus": names[stimulated],
            "stimulus_ganglion": anatomy["region"][stimulated],
            **{f"stimulus_{axis}": anatomy[axis][stimulated] for axis in "xyz"},
        },
        units={"unit": names[observed], **{n: c[observed] for n, c in anatomy.items()}},
        quantity="calcium",
        attrs={
            "specimen": "worm",
            "source": "wormneuroatlas 0.0.7.3 (PyPI wheel), data/funatlas.h5",
            "licence": "GPL-3.0-or-later",
            "strain": strain,
        },
    )


def worm_pairs(
    folder: str | Path | None = None,
    *,
    strain: Literal["wt", "unc31"] = "wt",
    progress: bool = True,
) -> pd.DataFrame:
    """Return every measured pair of the worm's atlas with its number of trials and q-values.

    Parameters
    ----------
    folder : path, optional
        As for `worm`.
    strain : {"wt", "unc31"}
        As for `worm`.
    progress : bool
        As for `worm`.

    Returns
    -------
    DataFrame, one row a pair
        ``stimulated``, ``observed``, ``trials`` (stimulations while the other was observed),
        ``response`` (mean dF/F), ``q`` (probability-corrected evidence of an answer), and
        ``q_equivalence`` (evidence that there is none); NaN where no trial could be scored.

    Raises
    ------
    UnknownName
        No such strain.
    NisslError
        A file cannot be read.

    Examples
    --------
    >>> pairs = worm_pairs()  # doctest: +SKIP
    >>> (pairs["q"] < 0.05).sum()  # doctest: +SKIP
    1310
    """
    import pandas as pd

    folder = folder_of("worm", folder, progress=progress)
    names, held = atlas(folder, strain)
    observed, stimulated = np.nonzero(held["occ1"] > 0)
    return pd.DataFrame(
        {
            "stimulated": names[stimulated],
            "observed": names[observed],
            "trials": held["occ1"][observed, stimulated],
            "response": held["dFF"][observed, stimulated],
            "q": held["q"][observed, stimulated],
            "q_equivalence": held["q_eq"][observed, stimulated],
        }
    )


def atlas(
    folder: Path, strain: str
) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
    """Read the names of the 300 neurons and the matrices (observed, stimulated) of a strain.

    Parameters
    ----------
    folder : Path
        Where the file lies, in any depth.
    strain : {"wt", "unc31"}
        Wild type or mutant.

    Returns
    -------
    names : array of str, shape (n_neurons,)
        As the file has them, but for AWCOFF, which it cuts off.
    matrices : dict of array, shape (n_neurons, n_neurons)
        ``dFF``, ``occ1``, ``q`` and ``q_eq``.

    Raises
    ------
    UnknownName
        No such strain.
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> names, matrices = atlas(Path("data"), "wt")  # doctest: +SKIP
    """
    if strain not in ("wt", "unc31"):
        raise UnknownName("strain", strain, ["wt", "unc31"], do="give wt or unc31")
    (path, *_) = source_files(folder, "data/funatlas.h5")
    with read_errors(path):
        import h5py

        with h5py.File(path) as file:
            names = file["neuron_ids"][:].astype("U6")
            names[names == "AWCOF"] = "AWCOFF"
            group = file[strain]
            return names, {name: group[name][:] for name in ("dFF", "occ1", "q", "q_eq")}


def _anatomy(folder: Path, names: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Return ganglion and place of each neuron."""
    (ganglia,) = source_files(folder, "data/aconnectome_ids_ganglia.json")
    with read_errors(ganglia):
        listed = json.loads(ganglia.read_text())
    region = {
        neuron: ganglion
        for ganglion, members in listed.items()
        if ganglion not in GROUPS
        for neuron in members
    }
    (positions,) = source_files(folder, "data/anatlas_neuron_positions.txt")
    with read_errors(positions), positions.open() as file:
        header = file.readline().lstrip("#").split()
        place = dict(zip(header, np.loadtxt(file), strict=True))
    nowhere = np.full(3, np.nan)
    xyz = np.asarray([place.get(name, nowhere) for name in names])
    return {
        "region": np.asarray([region.get(name, UNLISTED) for name in names]),
        **{axis: xyz[:, a] for a, axis in enumerate("xyz")},
    }
