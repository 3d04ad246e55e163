"""What an atlas says of a network that reads images: labels tested, and which images are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.atlas.images import labels_of
from nissl.atlas.page.cards import HIGHEST, LOWEST
from nissl.atlas.recording_tables import Q, tuned_columns, tuned_counts
from nissl.atlas.tuning import tuning
from nissl.recording import as_recording

if TYPE_CHECKING:
    import pandas as pd

    from nissl.atlas.accumulators import Accumulators
    from nissl.atlas.writer import AtlasWriter
    from nissl.network import Plan
    from nissl.statistics import Test

__all__ = ["image_rules", "shown_images", "test_labels"]


def test_labels(
    accumulators: Accumulators,
    labels: Mapping[str, NDArray[Any]],
    units: pd.DataFrame,
    writer: AtlasWriter,
    test: Test,
    *,
    progress: bool,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Test labels of images as those of a recording, of which an image is a sample.

    Parameters
    ----------
    accumulators : Accumulators
        What was accumulated: of every unit its highest activity in each image.
    labels : mapping of str to array, each of shape (n_images,)
        What is permuted over the images, or inside blocks that a label names (subject, session).
    units : DataFrame, n_units rows
        The units so far.
    writer : AtlasWriter
        Where ``tuning.parquet`` is written.
    test : Test
        As for `nissl.atlas.tuning.tuning`.
    progress : bool
        Show a bar.

    Returns
    -------
    units : DataFrame, n_units rows
        With the columns of `nissl.atlas.recording_tables.tuned_columns`.
    about : dict
        What ``atlas.json`` says of it.
    """
    peaks = [g.images.activity for g in accumulators.sites.values() if g.images is not None]
    names = units["unit"].to_numpy()
    rec = as_recording(
        np.concatenate(peaks, axis=1),
        samples={"stimulus": np.arange(len(peaks[0])), **labels},
        units={"unit": names},
    )
    found = tuning(rec, test=test, progress=progress)
    table = found.finding.table
    writer.tuning(table)
    columns = tuned_columns(names, table)
    kind = columns.pop("kind")
    none = units["kind"].isin(["unexplained", "untested"])
    units = units.assign(**columns, kind=np.where(none, kind, units["kind"]))
    return units, {"skipped": found.skipped, **tuned_counts(table)}


def shown_images(accumulators: Accumulators) -> list[int]:
    """Return the images that the page shows for some unit.

    Parameters
    ----------
    accumulators : Accumulators
        What was accumulated.

    Returns
    -------
    list of int
        Their numbers, in order.
    """
    shown: set[int] = set()
    for at_site in accumulators.sites.values():
        if at_site.images is not None:
            found = at_site.images.result()
            for end, n in (("top", HIGHEST), ("bottom", LOWEST)):
                samples = found[f"{end}_places"][:, :n]
                shown |= set((samples[samples >= 0] // at_site.images.n_places).tolist())
    return sorted(shown)


def image_rules(plan: Plan) -> dict[str, str]:
    """Say what the kinds of units mean where a network reads images.

    Parameters
    ----------
    plan : Plan
        What was read.

    Returns
    -------
    dict of str to str
        Rules by name, for ``atlas.json``.
    """
    if not labels_of(plan):
        none = "nothing was asked: the images carry no labels"
        return {"untested": none, "unexplained": none}
    peak = "its highest activity in an image"
    return {
        "tuned": f"eta squared of {peak} for a label exceeds its null, q ≤ {Q:g}",
        "unexplained": "no label that was asked explains it",
        "untested": "no label of the images could be tested for it",
    }
