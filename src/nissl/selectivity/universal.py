"""Universal neurons: units with a partner of like activity in every other network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.recording import align, check
from nissl.recording.units_by_site import units_by_site
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.rotated import rotation
from nissl.statistics.standardised import ROWS, standardised

if TYPE_CHECKING:
    import pandas as pd

    from nissl.recording import Recording

__all__ = ["UNIVERSAL", "correlation_with_partners", "universal"]

UNIVERSAL = 0.5  # the excess correlation beyond which the paper calls a neuron universal
UNITS = 4096  # of a tile of the products

Array = NDArray[np.floating[Any]]


@method(system=131)
def universal(
    rec: Recording,
    others: Mapping[str, Recording],
    *,
    on: str | None = None,
    test: Test = Test(),
    dtype: Literal["float32", "bfloat16"] = "float32",
    progress: bool = True,
) -> Finding:
    """Find each unit's most correlated partner in other networks, in excess of a rotated basis.

    Were neurons no more than a basis of their layer, any other basis would hold as good partners.
    So the activity of every layer of the other networks is rotated at random, and what a unit's
    best partner is better by than the best of the rotated basis is its *excess* correlation.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity of one network.
    others : mapping of str to Recording, each shape (n_samples, any number of units)
        Activity of other networks on the same samples. Units that share the coordinate ``site``
        are a layer; without it all of them are.
    on : str, optional
        Sample coordinate on which to align first; by default samples correspond row by row.
    test : Test
        Draws (19 rotations of each layer, the same for all units; the paper has one), tail,
        correction over units, seed.
    dtype : {"float32", "bfloat16"}
        In what layers are rotated. bfloat16 takes half the time; correlations of the null are then
        right to about 0.003.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: ``correlation`` (of the best partner, its absolute value, mean over
        networks), ``null_mean`` (the same in rotated bases), ``effect`` (the excess), p, q,
        ``lowest`` (the least over networks), ``universal`` (an excess above 0.5), and for each
        network ``partner NAME`` and ``r NAME``, with its sign. p says whether a partner is better
        than rotated ones; the excess says by how much, and is what makes a neuron universal.

    Raises
    ------
    NisslError
        There is no other network, samples do not correspond, or there are fewer than three.

    Notes
    -----
    The correlation of a unit with a rotated layer follows from its covariances with the layer's
    units and theirs with each other, so a rotation costs no pass over the samples. Memory is that
    of a tile of 4,096 units and of one layer, over all samples, and of one by the other. Units that
    do not vary have no partner.

    Source: Gurnee et al. 2024, section 3 (excess correlation, the threshold of 0.5). The absolute
    value is ours, since the sign of gated neurons is arbitrary; so are p and q.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((2, 300, 100))
    >>> b[:, 5] = a[:, 2] + 0.1 * rng.standard_normal(300)
    >>> found = universal(as_recording(a), {"b": as_recording(b)}, progress=False)
    >>> found.table.loc[found.table["universal"], ["unit", "partner b"]].values.tolist()
    [['unit[2]', 'unit[5]']]
    """
    pairs = {name: _corresponding(rec, other, on, name) for name, other in others.items()}
    test.require(null=(None,))
    n_rotations = test.draws(19)
    if not pairs:
        raise NisslError(
            "no other network is given", do="give others={'name': recording} on the same samples"
        )
    scores, partners, signed = {}, {}, {}
    draws = np.zeros((n_rotations, rec.sizes["unit"]))
    reader = _reader(rec) if on is None else None
    total = sum(b.sizes["unit"] for _, b in pairs.values())
    with progress_bar("Correlating", total=total, unit="units", progress=progress) as advance:
        for number, (name, (a, b)) in enumerate(pairs.items()):
            r, best = np.zeros(a.sizes["unit"]), np.full(a.sizes["unit"], -1)
            drawn = np.zeros_like(draws)
            sides = (reader if a is rec else _reader(a), *standardised(b))
            turns: dict[int, list[NDArray[np.float32]]] = {}
            for columns in units_by_site(b).values():
                width = len(columns)
                if width not in turns:  # a draw turns all layers of a network alike
                    keys = [(test.seed, number, width, i) for i in range(n_rotations)]
                    turns[width] = [rotation(width, key) for key in keys]
                _compare(sides, len(a), columns, turns[width], dtype, r, best, drawn)
                advance(len(columns))
            scores[name], signed[name] = np.abs(r), r
            partners[name] = np.where(best >= 0, b["unit"].values.astype(str)[best], "")
            draws += drawn / len(pairs)
    every = np.stack(list(scores.values()))
    found = against_null(
        every.mean(axis=0),
        draws,
        units=rec["unit"].values.astype(str).tolist(),
        score="correlation",
        method="universal",
        null="rotated basis",
        alternative="greater",
        test=test,
    )
    by_network: dict[str, Any] = {}
    for name in pairs:
        by_network |= {f"partner {name}": partners[name], f"r {name}": signed[name]}
    note = found.table["note"]
    return found.assign(
        {"networks": len(pairs), "seed": test.seed, "n_samples": rec.sizes["sample"]},
        lowest=every.min(axis=0),
        universal=found.table["effect"] > UNIVERSAL,
        note=np.where(every.max(axis=0) > 0, note, "does not vary: no partner"),
        **by_network,
    )


def correlation_with_partners(
    found: Finding, rec: Recording, others: Mapping[str, Recording], *, on: str | None = None
) -> Array:
    """Correlate units with partners that were found before, on other samples.

    Parameters
    ----------
    found : Finding
        What `universal` found.
    rec : Recording, shape (n_samples, n_units)
        Activity of the same network.
    others : mapping of str to Recording
        Activity of the same other networks.
    on : str, optional
        As in `universal`.

    Returns
    -------
    array, shape (n_units,)
        Absolute correlation, mean over networks; 0 for units that have no partner. A partner of
        the other sign than before counts against.

    Raises
    ------
    NisslError
        A network or a unit is missing, or samples do not correspond.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> a = as_recording(np.random.default_rng(0).standard_normal((50, 3)))
    >>> found = universal(a, {"b": -a}, progress=False)
    >>> correlation_with_partners(found, a, {"b": -a}).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    table, total = found.table, np.zeros(len(found.table))
    networks = [str(c).removeprefix("partner ") for c in table if str(c).startswith("partner ")]
    for name in networks:
        if name not in others:
            raise NisslError(f"partners were found in '{name}', which is not given", where=name)
        a, b = _corresponding(rec, others[name], on, name)
        left = _places(a, table["unit"], "the network")
        partner = table[f"partner {name}"]
        has = (partner != "").to_numpy()
        right = _places(b, partner[has], name)
        r = np.zeros(len(table))
        r[has] = _paired(a, left[has], b, right)
        total += r * np.sign(table[f"r {name}"].to_numpy())
    return total / len(networks)


def _corresponding(
    a: Recording, b: Recording, on: str | None, name: str
) -> tuple[Recording, Recording]:
    if on is not None:
        a, b = align(a, b, on=on, missing="drop", order="first")
    check(a), check(b)
    if a.sizes["sample"] != b.sizes["sample"] or a.sizes["sample"] < 3:
        raise NisslError(
            f"{a.sizes['sample']} and {b.sizes['sample']} samples do not correspond",
            where=name,
            do="record both networks on the same samples, at least three, or give on= to align",
        )
    return a, b


def _reader(rec: Recording) -> Any:
    """Read standardised units: a single tile once, of several each again for every layer."""
    read, _ = standardised(rec)
    if rec.sizes["unit"] > UNITS:
        return read
    held: dict[int, Array] = {}

    def once(rows: slice, units: slice) -> Array:
        if rows.start not in held:
            held[rows.start] = read(rows, units)
        return held[rows.start]

    return once


def _compare(
    sides: tuple[Any, Any, Array],
    n_samples: int,
    columns: NDArray[np.integer[Any]],
    rotations: list[NDArray[np.float32]],
    dtype: str,
    r: Array,
    best: NDArray[np.integer[Any]],
    drawn: Array,
) -> None:
    """Improve best partners, and those in rotated bases, by the units of one layer."""
    import torch

    kind = getattr(torch, dtype)
    read_units, read_layer, norm = sides
    rows = [slice(first, first + ROWS) for first in range(0, n_samples, ROWS)]
    layer = [read_layer(some, columns) for some in rows]
    # numpy takes the symmetric product, at half the cost.
    inside = torch.from_numpy(sum(block.T @ block for block in layer)).to(kind)
    # Correlation with a unit of a rotated basis: that with the layer's units, times a direction.
    scale = (norm[columns] / max(norm[columns].max(), 1e-30)).astype(np.float32)
    directions = []
    for turn in rotations:
        turned = torch.from_numpy(turn * scale[:, None])
        square = (turned * (inside @ turned.to(kind))).sum(dim=0)
        directions.append((turned * square.clamp_min(1e-20).rsqrt() * (square > 0)).to(kind))
    for start in range(0, len(r), UNITS):
        units = slice(start, min(start + UNITS, len(r)))
        found = np.zeros((units.stop - start, len(columns)), np.float32)
        for some, block in zip(rows, layer, strict=True):
            found += read_units(some, units).T @ block
        place = np.abs(found).argmax(axis=1)[:, None]
        here = np.take_along_axis(found, place, axis=1)[:, 0]
        better = np.abs(here) > np.abs(r[units])
        r[units] = np.where(better, here, r[units])
        best[units] = np.where(better, columns[place[:, 0]], best[units])
        known = torch.from_numpy(found).to(kind)
        for draw, direction in enumerate(directions):
            most = (known @ direction).abs_().amax(dim=1).float().numpy()
            drawn[draw, units] = np.maximum(drawn[draw, units], most)


def _places(rec: Recording, units: pd.Series, name: str) -> NDArray[np.integer[Any]]:
    import pandas as pd

    places = pd.Index(rec["unit"].values.astype(str)).get_indexer(pd.Index(units.astype(str)))
    if (places < 0).any():
        missing = units[places < 0]
        raise NisslError(
            f"{len(missing)} of the units are not in the recording: {missing.iloc[0]}", where=name
        )
    return np.asarray(places)


def _paired(a: Recording, left: Any, b: Recording, right: Any) -> Array:
    """Correlate one unit with one unit, pair by pair."""
    r = np.zeros(len(left))
    for start in range(0, len(left), UNITS):
        some = slice(start, start + UNITS)
        both = a[:, left[some]].values, b[:, right[some]].values
        x, y = (np.ascontiguousarray(z, dtype=np.float64) for z in both)
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        norm = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
        r[some] = (x * y).sum(axis=0) / np.where(norm > 0, norm, np.inf)
    return r
