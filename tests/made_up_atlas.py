"""A small made-up atlas with the tables of `nissl.atlas.tables`, for tests of its pages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from nissl.atlas import tables

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "then",
    "it",
    "ran",
    "to",
    "Paris",
    "2",
    "men",
    "said",
    ":",
    "return",
    "x",
    "+",
    "1",
    ";",
    "den",
    "Hund",
    "nicht",
    "<b>bold</b>",
    "</script>",
    "naïve",
    "東京",
    "\n",
    "\t",
]


def make_atlas(
    folder: Path, *, layers: int = 3, width: int = 32, n_tokens: int = 600, seed: int = 0
) -> Path:
    """Write an atlas of made-up neurons; those of kind ``token`` fire at one word alone."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    units = _units(rng, layers, width)
    token = rng.integers(len(WORDS), size=n_tokens)
    examples = pd.concat(
        [_examples(rng, units, row, token) for row in range(len(units))], ignore_index=True
    )
    units.to_parquet(folder / "units.parquet")
    examples.to_parquet(folder / "examples.parquet")
    preferred = units[units["token_id"] >= 0]
    tokens = pd.DataFrame(
        {
            "unit": preferred["unit"],
            "row": preferred.index,
            "rank": 1,
            "token": preferred["token"],
            "token_id": preferred["token_id"],
            "n_documents": 12,
            "effect": preferred["token_effect"],
            "p": preferred["token_p"],
            "q": preferred["token_q"],
        }
    )
    tables.conform(tokens, tables.TOKENS).to_parquet(folder / "tokens.parquet")
    bigrams = pd.DataFrame({c.name: [] for c in tables.BIGRAMS})
    tables.conform(bigrams, tables.BIGRAMS).to_parquet(folder / "bigrams.parquet")
    arrays = zarr.open_group(folder / "arrays.zarr", mode="w")
    counts = rng.poisson(50 * np.exp(-((np.arange(24) - 12) ** 2) / 20), size=(len(units), 24))
    for name, values in {
        "histogram": counts.astype("int64"),
        "edges": np.linspace(-6, 6, 25).astype("float32"),
        "token": token.astype("int32"),
        "document": (np.arange(n_tokens) // 100).astype("int32"),
        "position": (np.arange(n_tokens) % 100).astype("int32"),
    }.items():
        arrays.create_array(name, data=values)
    (folder / "vocabulary.json").write_text(json.dumps(dict(enumerate(WORDS))))
    (folder / "atlas.json").write_text(
        json.dumps({"network": "made-up", "text": "words", "n_tokens": n_tokens, "seconds": 1.5})
    )
    return folder


def _units(rng: np.random.Generator, layers: int, width: int) -> pd.DataFrame:
    n = layers * width
    layer, index = np.divmod(np.arange(n), width)
    kind = rng.choice(["dead", "positional", "token", "bigram", "language", "unexplained"], n)
    token = np.where(kind == "token", rng.integers(len(WORDS), size=n), -1)
    table: dict[str, Any] = {
        c.name: rng.normal(size=n) for c in (*tables.UNITS, *tables.NETWORK_UNITS)
    }
    table |= {
        "unit": [f"blocks.{a}.mlp.neurons[{b}]" for a, b in zip(layer, index, strict=True)],
        "site": [f"blocks.{a}.mlp.neurons" for a in layer],
        "layer": layer,
        "index": index,
        "count": 600,
        "nonfinite": 0,
        "first_nonfinite": -1,
        "kind": kind,
        "dead": kind == "dead",
        "density": 10 ** rng.normal(-1.5 + layer / layers, 0.4),
        "token_id": token,
        "position_share": rng.uniform(size=n) ** 4,
        "token": [WORDS[t] if t >= 0 else "" for t in token],
        "token_effect": np.where(kind == "token", rng.gamma(4, 1, n), np.nan),
        "token_p": np.where(kind == "token", 1e-6, np.nan),
        "token_q": np.where(kind == "token", 1e-3, np.nan),
        "bigram": np.where(kind == "bigram", "the cat", ""),
        "language": "",
        "bigram_first": -1,
        "bigram_second": -1,
        "kurtosis": rng.gamma(2, 4, n),
    }
    for name, text in (("promoted", "Paris"), ("suppressed", "cat")):
        table[name] = [[text, "x"]] * n
        table[f"{name}_logit"] = [[0.5, 0.4]] * n
    table["neighbours"] = [[table["unit"][(i + 1) % n], table["unit"][i - 1]] for i in range(n)]
    table["neighbour_r"] = [[0.8, 0.4]] * n
    return tables.conform(pd.DataFrame(table), (*tables.UNITS, *tables.NETWORK_UNITS))


def _examples(
    rng: np.random.Generator, units: pd.DataFrame, row: int, token: np.ndarray[Any, Any]
) -> pd.DataFrame:
    wanted = int(units["token_id"].iloc[row])
    places = np.flatnonzero(token == wanted) if wanted >= 0 else rng.integers(len(token), size=6)
    rows = []
    for sign in (1, -1):
        for rank, sample in enumerate(places[:4], 1):
            start, stop = max(0, sample - 9), min(len(token), sample + 4)
            activity = np.where(token[start:stop] == token[sample], sign * 5.0 / rank, 0.2)
            rows.append(
                {
                    "unit": units["unit"].iloc[row],
                    "row": row,
                    "sign": sign,
                    "rank": rank,
                    "value": sign * 5.0 / rank,
                    "sample": sample,
                    "document": sample // 100,
                    "position": sample % 100,
                    "token": token[sample],
                    "start": start,
                    "stop": stop,
                    "activity": activity.astype("float32").tolist() if rank < 4 else [],
                }
            )
    return tables.conform(pd.DataFrame(rows), tables.EXAMPLES)
