"""What the page tells about one unit: its extremes in context, and the evidence for its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.atlas.damage import note, part
from nissl.atlas.page.histogram import histograms_of
from nissl.atlas.page.raster import rasters_of
from nissl.atlas.page.statistic import rates
from nissl.atlas.page.table_rows import table_rows
from nissl.atlas.page.words import Strings, Words, arrays_of, rounded
from nissl.atlas.tables import EXAMPLES, IMAGE_EXAMPLES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Strings", "cards"]

HIGHEST, LOWEST = 8, 4  # examples kept at each end
BEFORE, AFTER = 24, 10  # tokens of context kept around the place
EVIDENCE = 8  # tokens and pairs listed, where q is at most 0.05
REST = ("rest", "baseline", "blank", "fixation", "none")  # names of categories without a stimulus
BOX = ("left", "top", "width", "height")
NO_LABELS = {column.name for column in (*EXAMPLES, *IMAGE_EXAMPLES)}
SECONDS = ("time", "time_in_interval")
SAID = 5  # coordinates of a sample that are told
TUNINGS = 6  # curves drawn, the surest first


def cards(
    folder: Path,
    units: pd.DataFrame,
    rows: Sequence[int],
    strings: Strings,
    *,
    few: bool = False,
    broken: list[str] | None = None,
) -> list[Any]:
    """Make the cards of some units.

    Parameters
    ----------
    folder : Path
        The atlas.
    units : DataFrame, n_units rows
        Its table ``units.parquet``.
    rows : sequence of int
        The units, in the order of the page.
    strings : Strings
        Where texts of tokens are kept; it grows.
    few : bool
        Half as many places of a text, with half of it around them.
    broken : list of str, optional
        Where it is noted what cannot be read, so that the rest is told; an error if not given.

    Returns
    -------
    list of dict
        One for each row, of what JSON knows; NaN has become None.

    Examples
    --------
    >>> import pandas as pd
    >>> from tempfile import TemporaryDirectory
    >>> table = pd.DataFrame({"unit": ["a[0]"], "kind": ["dead"]})
    >>> with TemporaryDirectory() as folder:
    ...     cards(Path(folder), table, [0], Strings())
    [{'row': 0, 'reason': ['never active']}]
    """
    wanted = set(rows)
    if not (folder / "arrays.zarr").exists():
        note(broken, "arrays.zarr is missing, in which histograms and texts are")

    def read(name: str, make: Callable[[Path], Any], otherwise: Any = None) -> Any:
        return part(broken, folder / name, lambda: make(folder / name), otherwise or {})

    contexts = read(
        "examples.parquet", lambda _: _contexts(folder, units, rows, strings, few, broken)
    )
    tokens = read("tokens.parquet", lambda path: _evidence(path, rows, "token"))
    bigrams = read("bigrams.parquet", lambda path: _evidence(path, rows, "bigram"))
    tunings = read("tuning.parquet", lambda _: _tunings(folder, units, wanted))
    histograms = read("arrays.zarr", lambda _: histograms_of(folder, list(rows)))
    maps = read("arrays.zarr", lambda _: _rate_maps(folder, rows))
    rasters = read("arrays.zarr", lambda _: rasters_of(folder, rows))
    records = units.iloc[list(rows)].to_dict("records")
    place = _place_of(units, {name for unit in records for name in _named(unit)})
    made = []
    for i, (row, unit) in enumerate(zip(rows, records, strict=True)):
        sign = _sign(unit)
        counts, edges = histograms[i] if histograms else ([], [])
        if counts and not any(counts) and unit.get("count", 0) > 0:
            counts, edges = [], []  # zarr reads a file that is missing as zeros
            note(broken, f"arrays.zarr lacks the histogram of {unit['unit']}")
        if row in rasters and not rasters[row]:
            note(broken, f"arrays.zarr lacks the raster of {unit['unit']}")
        parts: dict[str, Any] = {
            "histogram": counts,
            "edges": edges,
            "high": contexts.get((row, 1)),
            "low": contexts.get((row, -1)),
            "tokens": tokens.get(row),
            "bigrams": bigrams.get(row),
            "tuning": tunings.get(row),
            "map": maps.get(row),
            "raster": rasters.get(row),
            **_turned(_logits(unit, "promoted"), _logits(unit, "suppressed"), sign),
            "neighbours": _neighbours(unit, place),
        }
        card = {"row": int(row), "reason": _reason(unit, tunings.get(row), broken)}
        if sign:
            card["sign"] = sign
        made.append({**card, **{name: value for name, value in parts.items() if value}})
    return made


def _sign(unit: Mapping[Any, Any]) -> int:
    """Return on which side a unit is at what it prefers; 0 where it prefers nothing."""
    if str(unit["kind"]) not in ("token", "bigram", "language"):
        return 0
    return 1 if float(unit.get(f"{unit['kind']}_effect", 1)) > 0 else -1


def _turned(
    promoted: list[list[Any]], suppressed: list[list[Any]], sign: int
) -> dict[str, list[list[Any]]]:
    """Return what a unit writes at what it prefers: where it is lowest there, the opposite."""
    if sign >= 0:
        return {"promoted": promoted, "suppressed": suppressed}
    up, down = (
        [[text, None if v is None else -v] for text, v in part] for part in (suppressed, promoted)
    )
    return {"promoted": up, "suppressed": down}


def _reason(
    unit: Mapping[Any, Any], tunings: list[dict[str, Any]] | None, broken: list[str] | None
) -> list[str | list[str]]:
    """Say in a few words why a unit is of its kind; texts of tokens stand in lists of their own."""
    try:
        return _said(unit, tunings)
    except KeyError as error:
        if broken is None:
            raise
        note(broken, f"units.parquet lacks the column {error.args[0]}")
        return [str(unit["kind"])]


def _said(unit: Mapping[Any, Any], tunings: list[dict[str, Any]] | None) -> list[str | list[str]]:
    kind = str(unit["kind"])
    if kind == "dead":
        return ["never active"]
    if kind == "tuned" and tunings:
        return [f"tuned to {tunings[0]['name']}: {tunings[0]['says']}"]
    if kind == "positional":
        return [f"position explains {100 * float(unit['position_share']):.0f}% of its variance"]
    if kind == "unexplained" and unit.get("token") and float(unit["token_q"]) <= 0.05:
        end = f" {_short(unit['token_effect'])} sd, q {_short(unit['token_q'])}"
        if "token_share" in unit:
            end += f", {100 * float(unit['token_share']):.0f}% of its extremes"
        return ["no one token explains it; most ", [str(unit["token"])], end]
    nothing = {
        "unexplained": "nothing asked here explains it",
        "untested": "nothing could be tested of it",
    }
    if kind not in ("token", "bigram", "language"):
        return [nothing.get(kind, kind)]
    text, effect = str(unit[kind]), float(unit[f"{kind}_effect"])
    verb = "prefers" if effect > 0 else "is lowest at"
    what = {"token": "", "bigram": "the pair ", "language": "documents: "}[kind]
    end = f" {_short(effect)} sd, q {_short(unit[f'{kind}_q'])}"
    said: list[str | list[str]] = [f"{verb} {what}"]
    return said + ([f"{text},{end}"] if kind == "language" else [[text], end])


def _contexts(
    folder: Path,
    units: pd.DataFrame,
    rows: Sequence[int],
    strings: Strings,
    few: bool,
    broken: list[str] | None,
) -> dict[tuple[int, int], list[dict[str, Any]]]:
    path = folder / "examples.parquet"
    if not path.exists():
        note(broken, "examples.parquet is missing, in which the places are")
        return {}
    table = table_rows(path, "row", rows)
    share = 2 if few and "stimulus" not in table else 1
    most = np.where(table["sign"] > 0, HIGHEST // share, LOWEST // share)
    table = table[table["rank"] <= most].sort_values(["row", "sign", "rank"])
    words = Words(folder, strings, BEFORE // share, AFTER // share, broken)
    labels = [str(name) for name in table if name not in NO_LABELS]
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    top = 1.0
    for example in table.to_dict("records"):
        place = (int(example["row"]), int(example["sign"]))
        # The first of a unit and sign is the strongest: activity is shown against it.
        top = max(abs(float(example["value"])), 1e-30) if place not in found else top
        context = words.context(example, top)
        if "map_row" in table:
            context |= _picture(example, labels)
        elif "t" not in context:
            context |= _sample(example, units, labels)
        found.setdefault(place, []).append(context)
    return found


def _picture(example: Mapping[Any, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return which image an example is, and where in it."""
    made: dict[str, Any] = {"s": int(example["stimulus"])}
    if example["map_row"] >= 0:
        made["at"] = [int(example["map_row"]), int(example["map_column"])]
        made["box"] = [round(float(example[name]), 4) for name in BOX]
    if labels:
        made["l"] = ", ".join(str(example[name]) for name in labels)
    return made


def _sample(
    example: Mapping[Any, Any], units: pd.DataFrame, labels: Sequence[str]
) -> dict[str, Any]:
    """Say what a sample of a recording is, and draw activity around it between the unit's ends."""
    told = [
        f"{name.replace('_', ' ')} {_cell(example[name])}{' s' * (name in SECONDS)}"
        for name in labels
        if example[name] == example[name] and example[name] != ""  # what is missing is not said
    ]
    made: dict[str, Any] = {"l": ", ".join(told[:SAID])} if told else {}
    activity = np.asarray(example["activity"], dtype=float)
    if len(activity) == example["stop"] - example["start"]:
        low, high = (float(units[name].iloc[int(example["row"])]) for name in ("min", "max"))
        part = (activity - low) / (high - low if high > low else 1.0)
        made["a"] = [round(254 * v - 127) if np.isfinite(v) else None for v in part]
        made["at"] = int(example["sample"] - example["start"])
    return made


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _evidence(path: Path, rows: Sequence[int], column: str) -> dict[int, list[Any]]:
    if not path.exists():
        return {}
    table = table_rows(path, "row", rows)
    table = table[(table["rank"] <= EVIDENCE) & (table["q"] <= 0.05)].sort_values(["row", "rank"])
    found: dict[int, list[Any]] = {}
    for line in table.to_dict("records"):
        text, n = str(line[column]), int(line["n_documents"])
        evidence = [text, rounded(line["effect"]), rounded(line["q"]), n]
        found.setdefault(int(line["row"]), []).append(evidence)
    return found


def _tunings(folder: Path, units: pd.DataFrame, rows: set[int]) -> dict[int, list[dict[str, Any]]]:
    path = folder / "tuning.parquet"
    if not path.exists():
        return {}
    table = table_rows(path, "unit", units["unit"].iloc[list(rows)].tolist())
    scale, what = rates(json.loads((folder / "atlas.json").read_text(encoding="utf-8")))
    what = what or "departure from its mean"
    place = _place_of(units, set(units["unit"].iloc[list(rows)]))
    found: dict[int, list[dict[str, Any]]] = {}
    table = table.sort_values(["q", "effect"], ascending=[True, False])
    for line in table.to_dict("records"):
        row = place.get(line["unit"], -1)
        if row not in rows or line["note"]:
            continue
        if len(found.get(row, [])) == TUNINGS:
            continue
        names, preferred = _levels(line)
        curve = {
            "name": str(line["coordinate"]).replace("_", " "),
            "kind": str(line.get("kind", "continuous")),
            "says": f"eta² {line['eta2']:.2g}, q {_short(line['q'])}, most at {preferred}"
            + _over_rest(line, scale, what),
            "what": what,
            "eta2": rounded(line["eta2"]),
            "names": names,
            "y": _numbers(scale * np.asarray(line["curve"], dtype=float)),
            "low": _numbers(scale * np.asarray(line["null_low"], dtype=float)),
            "high": _numbers(scale * np.asarray(line["null_high"], dtype=float)),
        }
        if "null_mean" in line:
            curve["null"] = _numbers([line["null_mean"], line["null_sd"]])
        if curve["kind"] != "categorical":
            curve["x"] = _numbers(line["levels"])
        found.setdefault(row, []).append(curve)
    return found


def _rate_maps(folder: Path, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return mean activity over a plane, in 255ths of the way from its lowest to its highest."""
    arrays = arrays_of(folder)
    if arrays is None or "rate_map" not in arrays:
        return {}
    about = json.loads((folder / "atlas.json").read_text(encoding="utf-8"))
    scale, what = rates(about)
    values = scale * np.asarray(arrays["rate_map"])[list(rows)]
    found = {}
    for row, drawn in zip(rows, values, strict=True):
        if not np.isfinite(drawn).any():
            continue
        # A rate is seen against no spikes at all.
        low, high = 0.0 if what else float(np.nanmin(drawn)), float(np.nanmax(drawn))
        part = np.nan_to_num((drawn - low) / (high - low if high > low else 1.0) * 255, nan=-1)
        found[int(row)] = {
            "names": [name.replace("_", " ") for name in about["rate_map"]],
            "ends": [
                _numbers([edges[0], edges[-1]])
                for edges in (np.asarray(arrays[f"rate_map_{axis}"]) for axis in "xy")
            ],
            "cells": np.rint(part).astype(int).tolist(),
            "range": _numbers([low, high]),
            "what": what,
        }
    return found


def _over_rest(line: Mapping[Any, Any], scale: float, what: str) -> str:
    """Say by how much the preferred category exceeds rest, where rest is among the categories."""
    names = [str(name) for name in line["level_names"]]
    rest = next((i for i, name in enumerate(names) if name.strip().casefold() in REST), None)
    if rest is None or line.get("kind") != "categorical":
        return ""
    curve = scale * np.asarray(line["curve"], dtype=float)
    best = names.index(str(line["preferred_name"]))
    unit = f" {what}" if what == "Hz" else ""
    return (
        ", which is rest"
        if best == rest
        else f", {_short(curve[best] - curve[rest])}{unit} over rest"
    )


def _levels(line: Mapping[Any, Any]) -> tuple[list[str], str]:
    """Name the levels of a curve and the one preferred; radians become degrees."""
    names, preferred = [str(n) for n in line["level_names"]], line["preferred"]
    # Bins of a circle start at zero, so that the first centre tells its circumference.
    circle = 2 * len(names) * float(np.asarray(line["levels"])[0])
    if line.get("kind") == "circular" and np.isclose(circle, 2 * np.pi):
        names = [f"{np.degrees(level):.0f}°" for level in line["levels"]]
        return names, f"{np.degrees(float(preferred)):.0f}°"
    return names, str(line["preferred_name"])


def _logits(unit: Mapping[Any, Any], name: str) -> list[list[Any]]:
    if unit.get(name) is None or unit.get(f"{name}_logit") is None:
        return []
    return [[str(t), rounded(v)] for t, v in zip(unit[name], unit[f"{name}_logit"], strict=True)]


def _named(unit: Mapping[Any, Any]) -> Sequence[str]:
    """Return the addresses of a unit's neighbours."""
    found = unit.get("neighbours")
    return [] if found is None else found


def _place_of(units: pd.DataFrame, names: set[str]) -> dict[str, int]:
    """Return the rows of some units."""
    rows = np.flatnonzero(units["unit"].isin(names))
    return dict(zip(units["unit"].iloc[rows], rows.tolist(), strict=True))


def _neighbours(unit: Mapping[Any, Any], place: Mapping[str, int]) -> list[list[Any]]:
    if not len(_named(unit)) or unit.get("neighbour_r") is None:
        return []
    both = zip(unit["neighbours"], unit["neighbour_r"], strict=True)
    return [[place[name], rounded(r)] for name, r in both if name in place]


def _numbers(values: Iterable[Any]) -> list[float | None]:
    return [rounded(v) for v in values]


def _short(value: Any) -> str:
    return f"{float(value):.2g}"
