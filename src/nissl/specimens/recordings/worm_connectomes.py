"""The worm's connectomes and the atlas of how signals propagate, in one order of neurons."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from nissl.errors import NisslError, UnknownName, require_known
from nissl.methods import method
from nissl.specimens.recordings.source import folder_of, read_errors, source_files
from nissl.specimens.recordings.worm import atlas
from nissl.specimens.recordings.worm_neurons import NEURONS, worm_neurons

__all__ = ["worm_connectomes"]

Array = np.ndarray[Any, Any]
#: Whence each connectome is read: wormneuroatlas has tables of edges, cect matrices.
DATASETS = {
    "white-1986": "aconnectome_white_1986_whole.csv",
    "white-1986-adult": "aconnectome_white_1986_A.csv",
    "white-1986-l4": "aconnectome_white_1986_L4.csv",
    "varshney-2011": "cache/VarshneyDataReader.json",
    "cook-2019": "cache/Cook2019HermReader.json",
    **{f"witvliet-2021-{n}": f"cache/WitvlietDataReader{n}.json" for n in range(1, 7)},
    **{f"witvliet-2021-{n}": f"aconnectome_witvliet_2020_{n}.csv" for n in (7, 8)},
}
KINDS = {
    "chemical": "chemical",
    "Generic_CS": "chemical",
    "electrical": "gap",
    "Generic_GJ": "gap",
}
#: Muscles, glia, and the cells whose names begin with a small letter.
OTHER_CELLS = re.compile(r"BWM|M[DV][LR]\d\d|LegacyBodyWallMuscles|CEPsh|GLR|[a-z]")
STRAINS = ("wt", "unc31")


@method(system=232)
def worm_connectomes(
    folder: str | Path | None = None,
    *,
    datasets: Sequence[str] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Return what joins the worm's neurons, by who measured it, in one order of neurons.

    Parameters
    ----------
    folder : path, optional
        Where the files of both packages lie; fetched into the cache where not given.
    datasets : sequence of str, optional
        Some of "white-1986", "white-1986-adult" (its animal N2U), "white-1986-l4" (JSH),
        "varshney-2011", "cook-2019" and "witvliet-2021-1" to "witvliet-2021-8" (1 to 4 are larvae
        of the first stage, 5 of the second, 6 of the third); by default all. White, Varshney and
        Cook read the same micrographs; each of Witvliet is another animal.
    progress : bool
        Show how much has arrived, where the files are fetched.

    Returns
    -------
    Dataset, dims (dataset, source: 302, target: 302) and (strain: 2, source, target)
        ``source`` and ``target`` are `worm_neurons`. ``chemical``, synapses from source on to
        target; ``gap``, junctions between them, symmetric; NaN for neurons that do not occur in the
        dataset. Cook counts the micrographs that a synapse spans, others synapses.
        ``chemical_elsewhere`` and ``gap_elsewhere`` (dataset): what is left out, as muscle or glia
        is at one end. ``propagation`` (strain): mean dF/F of target when source is stimulated,
        NaN where not measured and of a neuron to itself; ``trials``; ``q``, NaN where not scored.

    Raises
    ------
    UnknownName
        No such dataset; or a file names a cell or a kind of edge that is not known.
    NisslError
        A file cannot be read, or counts are not numbers of zero or more.

    Examples
    --------
    >>> wiring = worm_connectomes()  # doctest: +SKIP
    >>> wiring["chemical"].sel(dataset="cook-2019", source="AVAL", target="VA8")  # doctest: +SKIP

    Notes
    -----
    The connectome that wormneuroatlas merges is not read: it books some 4,000 synapses with muscles
    and glia to its last neuron, VD9. AWC on and off of the atlas are taken for AWCR and AWCL.

    Source: Simeon et al. 2024; wormneuroatlas 0.0.7.3 (White et al. 1986; Witvliet et al. 2021;
    Randi et al. 2023), cect 0.3.5 (Varshney et al. 2011; Cook et al. 2019; Witvliet et al. 2021).
    """
    names = list(DATASETS) if datasets is None else list(datasets)
    for name in names:
        require_known("dataset", name, list(DATASETS))
    folder = folder_of("worm-connectomes", folder, progress=progress)
    wiring: dict[str, list[Any]] = {"chemical": [], "gap": []}
    elsewhere: dict[str, list[float]] = {"chemical": [], "gap": []}
    for name in names:
        (path, *_) = source_files(folder, DATASETS[name])
        for kind, (inside, outside) in _in_order(path).items():
            wiring[kind].append(inside)
            elsewhere[kind].append(outside)
    shape = (len(names), len(NEURONS), len(NEURONS))
    dims, pairs = ("dataset", "source", "target"), ("strain", "source", "target")
    found: dict[str, Any] = {k: (dims, np.reshape(m, shape)) for k, m in wiring.items()}
    found |= {f"{k}_elsewhere": (("dataset",), np.array(n)) for k, n in elsewhere.items()}
    found |= {name: (pairs, values) for name, values in _propagation(folder).items()}
    coords = {"dataset": names, "strain": list(STRAINS), "source": NEURONS, "target": NEURONS}
    return xr.Dataset(found, coords=coords, attrs={"specimen": "worm-connectomes"})


def _in_order(path: Path) -> dict[str, tuple[Array, float]]:
    """Return edges between neurons in their order, and the number of other edges, by kind."""
    with read_errors(path):
        nodes, matrices = _read(path)
        place = _places(nodes, path)
        absent = np.setdiff1d(np.arange(len(NEURONS)), place)
        found = {}
        for kind, matrix in matrices.items():
            if matrix.shape != (len(nodes), len(nodes)) or not (matrix >= 0).all():
                raise NisslError("not a count for every two cells", where=f"{path}: {kind}")
            if kind == "gap":  # listed in one direction or in both
                matrix = np.maximum(matrix, matrix.T)
            # What is not a neuron goes to a row and a column more, which are then cut off.
            wide = np.zeros((len(NEURONS) + 1, len(NEURONS) + 1))
            np.add.at(wide, np.ix_(place, place), matrix)
            inside = wide[:-1, :-1]
            found[kind] = inside, float(wide.sum() - inside.sum())
            inside[absent] = inside[:, absent] = np.nan
    return found


def _read(path: Path) -> tuple[list[str], dict[str, Array]]:
    """Return cells as the file names them, and matrices (source, target) of edges between them."""
    import pandas as pd

    if path.suffix == ".json":
        held = json.loads(path.read_text())
        nodes, listed = held["nodes"], held["connections"]
    else:
        table = pd.read_csv(path, sep="\t")
        nodes = sorted({*table["pre"], *table["post"]})
        at, listed = {name: i for i, name in enumerate(nodes)}, {}
        for kind, rows in table.groupby("type"):
            listed[kind] = np.zeros((len(nodes), len(nodes)))
            ends = rows["pre"].map(at), rows["post"].map(at)
            np.add.at(listed[kind], ends, rows["synapses"].to_numpy(float))
    matrices = {kind: np.zeros((len(nodes), len(nodes))) for kind in ("chemical", "gap")}
    for kind, matrix in listed.items():
        require_known(f"kind of edge of {path.name}", kind, list(KINDS))
        matrices[KINDS[kind]] = np.asarray(matrix, float)
    return nodes, matrices


def _places(nodes: Sequence[str], path: Path) -> Array:
    """Return where each cell is among the neurons, and one after the last for other cells."""
    order = {name: i for i, name in enumerate(NEURONS)}
    places = []
    for node in nodes:
        try:
            places.append(order[worm_neurons([node])[0]])
        except UnknownName as error:
            if not OTHER_CELLS.match(node):
                error.where = str(path)
                raise
            places.append(len(NEURONS))
    return np.array(places)


def _propagation(folder: Path) -> dict[str, Array]:
    """Return responses, trials and q-values of both strains, shapes (2, n_neurons, n_neurons)."""
    shape = (len(STRAINS), len(NEURONS), len(NEURONS))
    found = {name: np.full(shape, np.nan) for name in ("propagation", "q")}
    found["trials"] = np.zeros(shape, int)
    order = {name: i for i, name in enumerate(NEURONS)}
    for s, strain in enumerate(STRAINS):
        names, held = atlas(folder, strain)
        place = [order[name] for name in worm_neurons(names)]
        at: Any = (s, *np.ix_(place, place))
        measured = held["occ1"].T > 0  # the file has (observed, stimulated)
        found["trials"][at] = held["occ1"].T
        found["q"][at] = np.where(measured, held["q"].T, np.nan)
        found["propagation"][at] = np.where(measured, held["dFF"].T, np.nan)
        np.fill_diagonal(found["propagation"][s], np.nan)
    return found
