"""What each figure of an atlas is compared with: what its null permuted, or that it has none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["against"]

NOTHING = "Nothing was permuted: a description, not a test."
PREFERRED = "token", "bigram"
#: What is said of figures of which no null was drawn; others have none of their own.
DESCRIBED = {
    "kurtosis": "0 for a normal distribution.",
    "skew": "0 where it is symmetric.",
    "density": "When a unit counts as active: {active}.",
    "position_share": "Omega squared takes off what chance adds, so that it lies around 0, on "
    "either side, where the place says nothing. There is no p.",
    "output_norm": "Read off the weights.",
    "token_share": "How often the token occurs in the text is not taken off. What tests the token "
    "is its q.",
    "first_position": "Other figures leave the first position out.",
    "neighbours": "The largest of the correlations with all other units, {neighbours}: the largest "
    "of many is above zero by chance alone, the more so the fewer samples there are.",
    "promoted": "The unit's output weights through the unembedding: what it writes, not what it "
    "causes. Any direction raises some tokens most.",
    "places": "The most extreme of all samples: every unit has some. Whether they share something "
    "beyond chance is what q says.",
    "histogram": "All samples that were read.",
    "raster": "Samples in the order of time: rows may look alike by chance, and a mean over "
    "trials has peaks without any event. What tests a coordinate is the tuning to it.",
    "map": "Smoothed by one bin. What tests the coordinates is the tuning to them.",
}
COSINES = (
    "Nothing was permuted: a description, not a test. Cosines of random directions of d numbers "
    "lie within ±2/√d nineteen times in twenty."
)
NULLS = {
    "PermutedLabels": "the values permuted",
    "CircularShift": "the values shifted in a circle by a random time",
}


def against(columns: Iterable[str], about: Mapping[str, Any]) -> dict[str, str]:
    """Say what figures of an atlas are compared with.

    Parameters
    ----------
    columns : iterable of str
        The columns of ``units.parquet``.
    about : mapping
        What ``atlas.json`` holds.

    Returns
    -------
    dict of str
        A few sentences for each column, and for ``neighbours``, ``promoted``, ``places``,
        ``histogram``, ``raster``, ``map`` and ``kind``: what was permuted, over what, and over
        what p was corrected; where there is no null, that there is none.

    Examples
    --------
    >>> against(["mean"], {})["mean"]
    'Nothing was permuted: a description, not a test.'
    """
    names = [str(name) for name in columns]
    coordinates = [n.removesuffix("_eta2") for n in names if n.endswith("_eta2")]
    tested: dict[str, str] = {}
    for name in coordinates:
        tested |= _tuning(name, about, len(coordinates))
    if coordinates:
        tested |= _best(about)
    for name in PREFERRED:
        words = _preference(name, about)
        tested |= {f"{name}_{figure}": words for figure in ("effect", "p", "q")}
    tested |= dict.fromkeys(("language_effect", "language_q"), _language(about))
    tested["kind"] = (
        "The rules are asked in a fixed order, and the first that holds is the kind. "
        "A figure of a kind with q has its null beside it; the threshold of the others is a choice."
    )
    found = {name: tested.get(name) or _described(name, about) for name in names}
    return found | {part: tested.get(part) or _described(part, about) for part in _parts()}


def _parts() -> tuple[str, ...]:
    return ("neighbours", "promoted", "places", "histogram", "raster", "map", "kind")


def _described(name: str, about: Mapping[str, Any]) -> str:
    if name.startswith("cos_"):
        return COSINES
    rules = about.get("rules") or {}
    known = {
        "active": str(rules.get("active", "see atlas.json")),
        "neighbours": _lowered(str(about.get("neighbours", "by correlation"))),
    }
    return f"{NOTHING} {DESCRIBED.get(name, '').format_map(known)}".strip()


def _preference(name: str, about: Mapping[str, Any]) -> str:
    """Say what the effect of a token or a pair is compared with."""
    what = {"token": "tokens", "bigram": "pairs"}[name]
    if not about.get("null"):
        return f"This atlas does not say what its null of {what} was."
    many = (about.get("n_labels") or {}).get(f"{name}s")
    searched = f"{about['n_units']:,} units and {many:,} {what}" if many else f"units and {what}"
    return (
        f"Null: {about['null']}. Under it the effect is around 0. Documents are the blocks: an "
        f"effect is a mean over them. Searched were {searched}; the null's own values are not kept."
    )


def _language(about: Mapping[str, Any]) -> str:
    many = f"{about['n_documents']:,} documents" if about.get("n_documents") else "documents"
    return (
        f"Null: the labels permuted over {many}. q is the share of permutations in which the "
        "largest rank sum of all units and labels is as large (the maximum statistic). Under it "
        "the effect is around 0; the null's own values are not kept."
    )


def _tuning(name: str, about: Mapping[str, Any], n_coordinates: int) -> dict[str, str]:
    """Say of every figure of a coordinate what it is compared with."""
    null = _null((about.get("nulls") or {}).get(name, ""))
    many = f" {about['n_permutations']:,} times" if about.get("n_permutations") else ""
    by = {"max": " by the maximum statistic", "fdr_bh": " by Benjamini and Hochberg"}
    how = by.get(str(about.get("correction")), "")
    over = f"all units and {n_coordinates} coordinate{'s' * (n_coordinates != 1)}"
    said = f"Null: {null}{many}."
    return {
        f"{name}_eta2": f"{said} By chance alone eta² is above 0: the effect is what it exceeds "
        "the mean of its null by.",
        f"{name}_effect": f"{said} 0 is the mean of the null.",
        f"{name}_q": f"{said} p is the share of draws that reach as far, corrected over {over}"
        f"{how}.",
        f"{name}_preferred": f"{NOTHING} It says something where the q beside it is small.",
    }


def _best(about: Mapping[str, Any]) -> dict[str, str]:
    said = (
        "Of the coordinate with the smallest q, against the null of that coordinate; the choice "
        "of the best is part of what q is corrected for."
    )
    return dict.fromkeys(("tuning_effect", "tuning_q", "tuned_to"), said)


def _null(name: str) -> str:
    """Read the name of a null, such as ``CircularShift(within='epoch', min_shift=1)``."""
    kind = name.partition("(")[0]
    if kind not in NULLS:
        return name or "see tuning.parquet"
    settings = dict(re.findall(r"(\w+)='(\w+)'", name))
    over = f" over {settings['exchange']}s" if "exchange" in settings else ""
    inside = f" inside each {settings['within']}" if "within" in settings else ""
    return f"{NULLS[kind]}{over}{inside}"


def _lowered(text: str) -> str:
    return text if text[:1] == "P" else text[:1].lower() + text[1:]
