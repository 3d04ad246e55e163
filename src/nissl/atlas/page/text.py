"""What the page says in words: its head, what the kinds mean, how to read it, its provenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ORDER", "page_text"]

MEANINGS = {
    "dead": "never active on this text",
    "positional": "place in the window explains most of it",
    "token": "prefers one token, more than its documents explain",
    "bigram": "prefers a pair of neighbouring tokens",
    "language": "prefers documents of one kind",
    "tuned": "depends on a coordinate of the samples more than its null",
    "unexplained": "none of the questions asked here explains it",
    "untested": "nothing could be tested of it",
}
NOTES = {
    "network": (
        (
            "Effect",
            "Mean activity at the token (or pair) less the mean around it, in standard deviations "
            "around it; averaged over documents. Negative where the unit is lowest there.",
        ),
        ("p and q", "Over documents, never over single tokens, which are not independent."),
        (
            "Shading",
            "Violet where activity is positive, teal where it is negative, in proportion to the "
            "strongest among the places listed. The underline marks the place itself.",
        ),
        (
            "Raises and lowers",
            "The unit's output weights read through the unembedding, before the final norm: what "
            "an activity of one adds to each logit (of minus one, for a unit that is lowest at "
            "what it prefers): what the unit writes, not what it causes.",
        ),
        ("Neighbours", "By correlation of activity."),
        (
            "Histograms",
            "Counts on a logarithmic scale. A bar is a doubling of magnitude: teal below zero, "
            "violet above, grey for what is too small to tell.",
        ),
    ),
    "images": (
        (
            "Images",
            "The images in which a unit is highest, and lowest, each once, as the network read "
            "them: cropped, resized, and lightened or darkened where their numbers do not run "
            "from 0 to 1.",
        ),
        (
            "Box",
            "The cell of the unit's map that is highest (lowest) in the image, drawn where it "
            "lies: the ratio of the sizes of map and picture. It is the place of the unit, not "
            "all that the unit can see there, which is larger. Units without places have no box.",
        ),
        (
            "Labels",
            "The highest activity anywhere in an image stands for the image. Curves are its mean "
            "at each label, less the unit's mean over images. Eta² is the share of its variance "
            "that the label explains. Grey is the middle 95% of the null, in which labels are "
            "permuted over images.",
        ),
        ("q", "Corrected over all units and all labels that were tested."),
        ("Neighbours", "By correlation of activity over places in the images."),
        (
            "Figures",
            "Mean, deviation and what follows are over all places of all images.",
        ),
        (
            "Histograms",
            "Counts of places on a logarithmic scale. A bar is a doubling of magnitude: teal below "
            "zero, violet above, grey for what is too small to tell.",
        ),
    ),
    "recording": (
        (
            "Tuning",
            "Activity at each value of a coordinate: the rate of spikes in Hz, or else the mean "
            "departure from the unit's own mean (in each block where the null shifts inside "
            "blocks). A category of rest is one of the values. Eta² is the share of variance it "
            "explains. Grey is the middle 95% of the null: labels permuted over exchangeability "
            "blocks, or shifted circularly in time.",
        ),
        ("q", "Corrected over all units and all coordinates that were tested."),
        ("Neighbours", "By correlation of activity."),
        ("Histograms", "Counts on a logarithmic scale; teal below zero."),
        (
            "Rasters",
            "Every sample, in rows that are trials or stretches of time, in the order of time and "
            "never sorted. Nothing is drawn where a row has no sample. Teal is below zero.",
        ),
    ),
}
ORDER = ("token", "bigram", "language", "positional", "tuned", "unexplained", "untested", "dead")
SAME = {"network": "token", "images": "label"}  # what is not repeated among the first cards
SHOWN = (
    "text",
    "n_tokens",
    "n_documents",
    "n_images",
    "n_samples",
    "window",
    "seconds",
    "date",
    "version",
    "dtype",
)


def page_text(units: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return every text of the page.

    Parameters
    ----------
    units : DataFrame, n_units rows
        The table ``units.parquet``.
    about : mapping
        What ``atlas.json`` holds. Its ``rules``, where there are any, say what the kinds mean.

    Returns
    -------
    dict
        ``what``, ``title``, ``intro``, ``facts``, ``provenance``, ``notes``, ``kinds``,
        ``selective`` and ``silent``.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"kind": ["dead", "token"], "site": "mlp", "token": ["", "a"]})
    >>> page_text(table, {"network": "toy", "n_tokens": 12})["intro"]
    '2 neurons of one site, over 12 tokens. 1 prefers a token or a pair; 1 was never active.'
    """
    source = _source(units, about)
    is_network = source != "recording"
    counts = {str(k): int(n) for k, n in units["kind"].value_counts().items()}
    rules = about.get("rules") or {}
    flat = dict(_flat(about))
    return {
        "group": _group(units),
        "what": "a network" if is_network else "a recording",
        "title": str(about.get("network") or about.get("name") or "unnamed"),
        "intro": _intro(units, counts, about, source),
        "facts": _facts(flat, about),
        "provenance": [[k, _value(k, v)] for k, v in flat.items()],
        "notes": _notes(about, source),
        "kinds": [
            {
                "name": kind,
                "count": counts.get(kind, 0),
                "meaning": str(rules.get(kind) or MEANINGS[kind]),
            }
            for kind in ORDER
        ],
        "selective": (
            "The strongest of each kind take turns"
            + f", at most two for the same {SAME.get(source, 'category')} first. "
            + "Open one for both of its ends, its figures and its neighbours."
        ),
        "silent": _silent(about, rules),
    }


def _silent(about: Mapping[str, Any], rules: Mapping[str, Any]) -> str:
    """Say what counts as silent, and whether there was enough text to tell."""
    needed = (about.get("thresholds") or {}).get("dead_tokens", 0)
    dead = str(rules.get("dead", ""))
    said = f"Silent is a unit {'when ' if dead.startswith('its') else ''}{dead}" if dead else ""
    few = (
        f"{_value('', needed)} are needed to tell, and there were fewer"
        if (needed > (about.get("n_samples") or needed))
        else ""
    )
    active = str(rules.get("active", ""))
    active = active if active.startswith("a unit") or not active else f"Active is: {active}"
    return " ".join(_sentence(part) for part in (said, few, active) if part)


def _facts(flat: Mapping[str, Any], about: Mapping[str, Any]) -> list[list[str]]:
    told = [k for k in SHOWN if flat.get(k) not in (None, "")]
    # Of images, sites differ in their places.
    if flat.get("n_samples") == flat.get("n_tokens") or "n_images" in flat:
        told = [k for k in told if k != "n_samples"]
    names = {"seconds": "took"} | ({"text": "read from"} if "n_images" in flat else {})
    facts = [[names.get(k, _called(k)), _value(k, flat[k])] for k in told]
    tuned = about.get("tuned") or {}
    return [["tuned to", ", ".join(f"{_called(c)} {n:,}" for c, n in tuned.items())]] * bool(
        tuned
    ) + facts


def _source(units: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """Tell a network that read text, one that read images or other items, and a recording."""
    if "token" in units:
        return "network"
    return "images" if "n_images" in about else "recording"


def _notes(about: Mapping[str, Any], source: str) -> list[list[str]]:
    """How to read the page; what the atlas says of its own null and sample is added."""
    said = {"p and q": "null", "q": "null", "Neighbours": "neighbours"}
    notes = []
    for name, text in NOTES[source]:
        more = about.get(said.get(name, ""), "")
        notes.append([name, f"{text} {_sentence(str(more))}".strip() if more else text])
    if about.get("left_out"):
        notes.append(["Left out", _sentence(str(about["left_out"]))])
    if (about.get("raster") or {}).get("left_out"):
        notes.append(["No rasters", _sentence(str(about["raster"]["left_out"]))])
    return notes


def _group(units: pd.DataFrame) -> str:
    """What the units lie in: layers of a network, regions of a brain."""
    if "layer" in units and int(units["layer"].min()) >= 0:
        return "layer"
    return "region" if "region" in units else "site"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}".rstrip(".") + "." if text else ""


def _intro(units: Any, counts: Mapping[str, int], about: Mapping[str, Any], source: str) -> str:
    network = source == "network"
    n, sites = len(units), units["site"].nunique()
    where = "one site" if sites == 1 else f"{sites} sites"
    counted = {"network": "tokens", "images": "images"}.get(source, "samples")
    n_read = about.get(f"n_{counted}") or about.get("n_samples")
    read = f", over {n_read:,} {counted}" if n_read else ""
    selective = counts.get("token", 0) + counts.get("bigram", 0)
    tuned, dead = counts.get("tuned", 0), counts.get("dead", 0)
    first = (
        f"{selective:,} {'prefers' if selective == 1 else 'prefer'} a token or a pair"
        if network
        else f"{tuned:,} {'is' if tuned == 1 else 'are'} tuned to what was asked"
    )
    if source == "images" and "tuned" not in about:
        return f"{n:,} units of {where}{read}. The images carry no labels, so that none was tested."
    responding = max(int(about.get("responding") or 0) - selective, 0)
    if network and responding:
        first += f"; {responding:,} more respond to some, none of which is most of it"
    if counts.get("untested"):
        first += f"; {counts['untested']:,} were not tested"
    silent = f"; {dead:,} {'was' if dead == 1 else 'were'} never active" if dead else ""
    return f"{n:,} {'neurons' if network else 'units'} of {where}{read}. {first}{silent}."


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _called(key: str) -> str:
    return key.removeprefix("n_").replace("_", " ")


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if key.endswith("seconds") and isinstance(value, int | float):
        return f"{value / 60:.1f} min" if value >= 90 else f"{value:.0f} s"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
