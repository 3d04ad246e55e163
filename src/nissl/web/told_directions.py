"""The directions nearest to what a unit writes, as the page tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nissl.features.nearest_directions import nearest_directions

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["told_directions"]

NEAREST = 8


def told_directions(net: Network, unit: str) -> dict[str, Any]:
    """Tell the directions that lie nearest to what a unit writes.

    Parameters
    ----------
    net : Network
        With the dictionaries that are asked.
    unit : str
        The address of a neuron of an MLP, or of a feature.

    Returns
    -------
    dict
        ``of``, what was looked through, features for a neuron and neurons for a feature; how many
        (``n``) of how many numbers (``d``); ``nearest``, each with ``unit`` and ``cosine``;
        ``null``, mean and 95th percentile of the largest size of random directions; and ``p`` of
        the first, corrected over all. ``why`` nothing could be looked through, else empty.

    Raises
    ------
    NisslError
        There is no such unit, or nothing is known of what it writes.
    """
    found = nearest_directions(net, unit)
    about, table = found.provenance, found.table.head(NEAREST)
    told: dict[str, Any] = {"of": about["of"], "nearest": [], "why": ""}
    if not len(table):
        return told | {"why": _why(about["of"] == "neurons")}
    nearest = zip(table["unit"], table["cosine"], strict=True)
    return told | {
        "n": about["n"],
        "d": about["width"],
        "nearest": [{"unit": name, "cosine": _four(cosine)} for name, cosine in nearest],
        "null": [_four(about[name]) for name in ("largest_by_chance", "largest_95")],
        "p": float(table["q"].iloc[0]),
    }


def _why(feature: bool) -> str:
    if feature:
        return "No neurons of an MLP write into the stream before this feature is read."
    return (
        "No dictionary is at hand that is read after this unit writes; "
        "`nissl view ATLAS --dictionary FILE` adds one."
    )


def _four(x: Any) -> float:
    return float(f"{float(x):.4g}")
