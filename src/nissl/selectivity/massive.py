"""Massive activations: the few values of the residual stream that dwarf all others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.recording.units_by_site import samples_by, units_by_site
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.rotated import rotation

if TYPE_CHECKING:
    import pandas as pd

    from nissl.recording import Recording

__all__ = ["MAGNITUDE", "RATIO", "layer_ratios", "massive"]

MAGNITUDE, RATIO = 100.0, 1000.0  # Sun et al. 2024: beyond both an activation is massive

Array = NDArray[np.floating[Any]]


@method(system=38)
def massive(
    rec: Recording,
    *,
    document: str = "document",
    magnitude: float = MAGNITUDE,
    ratio: float = RATIO,
    test: Test = Test(),
) -> Finding:
    """Find dimensions of the residual stream that hold massive activations.

    In each text a dimension is scored by its largest absolute value over the text's tokens, divided
    by the median absolute value of the whole layer. Its score is the mean over texts.

    Parameters
    ----------
    rec : Recording, shape (n_tokens, n_units)
        The residual stream: ``resid_post`` of one layer or several, told apart by the coordinate
        ``site``.
    document : str
        Sample coordinate of the text.
    magnitude, ratio : float
        A value is massive beyond both: the first as it is, the second over the median.
    test : Test
        Draws (19), tail, correction over the dimensions of each layer, seed. The null: the same
        layer in bases rotated at random. Were the size spread over many dimensions, they would hold
        as large values.

    Returns
    -------
    Finding
        One row for each dimension: ``ratio``, its null mean, effect, p, q; ``largest`` (the largest
        absolute value anywhere), ``massive`` (the share of texts that hold a massive activation in
        it), ``position`` and, where the recording has it, ``token`` of the largest value, ``first``
        (the share of texts whose largest value of it is at the first token), ``site`` and
        ``layer``.

    Raises
    ------
    TooFewSamples
        There is one text only.
    NisslError
        A layer's median is zero.
    UnknownName
        The recording has no coordinate of the texts.

    Notes
    -----
    The null asks whether the *basis* is special; whether training made it so is told by recording
    networks with fresh weights (`ReinitialisedNetwork`).

    Source: Sun et al. 2024 (the definition); Gallego-Feliciano et al. 2025, equations 4 to 8 (the
    ratio and its mean over texts). The null is ours.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> values = np.random.default_rng(0).standard_normal((60, 32))
    >>> values[::20, 7] = 3000.0
    >>> rec = as_recording(values, samples={"document": np.repeat([0, 1, 2], 20)})
    >>> massive(rec).significant().table[["unit", "massive", "first"]].values.tolist()
    [['unit[7]', 1.0, 1.0]]
    """
    import pandas as pd

    test.require(null=(None,))
    texts = samples_by(rec, document)
    if len(texts) < 2:
        raise TooFewSamples("one text gives no null", do="record two texts or more")
    tables: list[pd.DataFrame] = []
    turns: dict[int, list[NDArray[np.float32]]] = {}
    for site, columns in units_by_site(rec).items():
        values = np.abs(np.asarray(rec[:, columns].values, dtype=np.float64))
        width = len(columns)
        if width not in turns:  # each layer is tested by itself: all can be turned alike
            turns[width] = [rotation(width, (test.seed, width, i)) for i in range(test.draws(19))]
        given = np.asarray(rec[:, columns].values)
        found = against_null(
            _score(values, texts, site),
            [_score(np.abs(given @ turn), texts, site) for turn in turns[width]],
            units=rec["unit"].values[columns].astype(str).tolist(),
            score="ratio",
            method="massive",
            null="rotated basis",
            alternative="greater",
            test=test,
        )
        largest, medians = _largest(values, texts, site)
        beyond = (largest > magnitude) & (largest >= ratio * medians[:, None])
        place = np.stack([values[rows].argmax(axis=0) for rows in texts])
        where = values.argmax(axis=0)
        places = {"position": where, "token": where, "site": columns, "layer": columns}
        found = found.assign(
            largest=values.max(axis=0),
            massive=beyond.mean(axis=0),
            first=(place == 0).mean(axis=0),
            **{name: rec[name].values[at] for name, at in places.items() if name in rec.coords},
        )
        tables.append(found.table)
    about: dict[str, str | int | float] = {
        "magnitude": magnitude,
        "least_ratio": ratio,
        "seed": test.seed,
        "n_texts": len(texts),
        "n_tests": sum(map(len, tables)),
    }
    return replace(found, table=pd.concat(tables, ignore_index=True)).assign(about)


def layer_ratios(rec: Recording, *, document: str = "document") -> pd.DataFrame:
    """Return for each layer how far its largest activation exceeds its median.

    Parameters
    ----------
    rec : Recording, shape (n_tokens, n_units)
        The residual stream, as for `massive`.
    document : str
        Sample coordinate of the text.

    Returns
    -------
    DataFrame, one row a layer
        ``site``; ``largest`` and ``median``, of absolute values, means over texts; ``ratio`` of the
        two; ``unit`` that holds the largest value of most texts.

    Raises
    ------
    NisslError
        A layer's median is zero.
    UnknownName
        The recording has no coordinate of the texts.

    Notes
    -----
    Source: Gallego-Feliciano et al. 2025, equation 8.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rec = as_recording([[1.0, -8.0], [2.0, 2.0]], samples={"document": [0, 0]})
    >>> layer_ratios(rec)[["ratio", "unit"]].values.tolist()
    [[4.0, 'unit[1]']]
    """
    import pandas as pd

    texts, rows = samples_by(rec, document), []
    for site, columns in units_by_site(rec).items():
        values = np.abs(np.asarray(rec[:, columns].values, dtype=np.float64))
        tops, medians = _largest(values, texts, site)
        unit = columns[np.bincount(tops.argmax(axis=1)).argmax()]
        largest, median = float(tops.max(axis=1).mean()), float(medians.mean())
        rows.append((site, largest, median, largest / median, str(rec["unit"].values[unit])))
    return pd.DataFrame(rows, columns=["site", "largest", "median", "ratio", "unit"])


def _largest(values: Array, texts: list[Any], site: str) -> tuple[Array, Array]:
    """Return of each text the largest value of each unit, and the median of all."""
    medians = np.asarray([np.median(values[rows]) for rows in texts])
    if not (medians > 0).all():
        raise NisslError(
            "the median activation is zero, so that nothing can be told beyond it",
            where=site,
            do="give a dense site, such as resid_post",
        )
    return np.stack([values[rows].max(axis=0) for rows in texts]), medians


def _score(values: Array, texts: list[Any], site: str) -> Array:
    largest, medians = _largest(values, texts, site)
    return np.asarray((largest / medians[:, None]).mean(axis=0))
