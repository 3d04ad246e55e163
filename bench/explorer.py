"""The explorer over 50,000 units and ten million places: seconds on the wall, and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import numpy as np

from bench.clients import load, resident
from bench.measure import Row
from nissl.atlas import tables
from nissl.atlas.page.write import SCRIPTS, filled, page_data, write_page
from nissl.cache import cache_dir

LAYERS, WIDTH, RANKS, TOKENS = 32, 1568, 100, 200_000  # 50,176 units with places at both ends
WORDS = 5000
ASKED = 12  # units opened, and lists


def run() -> list[Row]:
    """Return rows of the first view, a unit, a list, a text, memory, clients and the page."""
    folder = _atlas()
    begin = time.perf_counter()
    command = [sys.executable, "-m", "nissl.cli", "view", str(folder), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            address = json.loads(running.stdout.readline())["address"]
            cookies = urllib.request.HTTPCookieProcessor(CookieJar())
            ask = urllib.request.build_opener(cookies).open
            page = ask(address).read()
            first = time.perf_counter() - begin
            root = address.partition("?")[0]
            rng = np.random.default_rng(0)
            rows = rng.integers(LAYERS * WIDTH, size=ASKED)
            unit = _seconds(lambda k: ask(f"{root}api/unit/{rows[k]}").read())
            where = [quote(f"density < 0.{k + 1}") for k in range(ASKED)]
            listed = _seconds(
                lambda k: ask(f"{root}api/units?sort=kurtosis&where={where[k]}").read()
            )
            text = _seconds(lambda k: ask(f"{root}api/find?text=w{k + 100}").read())
            memory = resident(running.pid)
            units = [f"blocks.{i // WIDTH}.mlp.neurons[{i % WIDTH}]" for i in range(LAYERS * WIDTH)]
            words = [f"w{k}" for k in range(100)]
            load(address, seconds=10, units=units, words=words)  # what is kept is read
            before = resident(running.pid)
            minute = load(address, seconds=60, units=units, words=words)
            grown = resident(running.pid) - before
        finally:
            running.terminate()
    n_places = 2 * RANKS * LAYERS * WIDTH
    said = f"{LAYERS * WIDTH:,} units, {n_places:,} places; page {len(page) / 1e6:.1f} MB"
    told = f"{sum(minute.answered.values()):,} answers, {len(minute.errors):,} errors"
    return [
        _row("command to first view", first, "s", 1.0, said),
        _row("a unit's page", 1000 * unit, "ms", 150, f"median of {ASKED}, others than before"),
        _row("filter and sort all units", 1000 * listed, "ms", 150, f"median of {ASKED}"),
        _row("units high at a text", 1000 * text, "ms", 150, f"median of {ASKED}"),
        _row("memory of the server", memory, "MB", 300, "after all of these"),
        _row("20 clients for a minute, growth of memory", grown, "MB", 30, told),
        _row("the page's own files", _own_files() / 1000, "kB", 300, "scripts, style, template"),
    ]


def _row(name: str, value: float, unit: str, target: float, note: str) -> Row:
    return Row(name=name, ratio=value, unit=unit, target=target, limit=None, note=note)


def _seconds(ask: Callable[[int], Any]) -> float:
    """Return the median of seconds on the wall; the first reads what is kept."""
    taken = []
    for k in range(ASKED):
        begin = time.perf_counter()
        ask(k)
        taken.append(time.perf_counter() - begin)
    return median(taken)


def _own_files() -> int:
    page = resources.files("nissl.atlas.page")
    own = [page.joinpath(name) for name in (*SCRIPTS, "page.css", "template.html")]
    for more in ("nissl.pictures", "nissl.web.page"):
        own += [f for f in resources.files(more).iterdir() if f.name.endswith((".js", ".css"))]
    return sum(len(file.read_bytes()) for file in own)


def _atlas() -> Path:
    """Return an atlas of made-up units, made once."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    import zarr

    folder = cache_dir("bench") / "explorer"
    page = folder / "index.html"
    if page.exists():  # of an older version, perhaps, which would be made again at every start
        page.write_text(filled(page_data(folder)), encoding="utf-8")
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng, n = np.random.default_rng(0), LAYERS * WIDTH
    layer, index = np.divmod(np.arange(n), WIDTH)
    table: dict[str, Any] = {
        c.name: rng.standard_normal(n) for c in (*tables.UNITS, *tables.NETWORK_UNITS)
    }
    names = np.array(
        [f"blocks.{a}.mlp.neurons[{b}]" for a, b in zip(layer, index, strict=True)], dtype=object
    )
    word = rng.integers(WORDS, size=n)
    table |= {"unit": names, "site": [f"blocks.{a}.mlp.neurons" for a in layer]}
    table |= {"layer": layer, "index": index, "count": TOKENS, "nonfinite": 0, "dead": False}
    table |= {"first_nonfinite": -1, "kind": "token", "density": rng.uniform(size=n)}
    table |= {"token": [f"w{w}" for w in word], "token_id": word, "gated_class": ""}
    table |= {"bigram": "", "bigram_first": -1, "bigram_second": -1, "language": ""}
    for name in ("promoted", "suppressed"):
        table[name], table[f"{name}_logit"] = [["w1", "w2"]] * n, [[0.5, 0.4]] * n
    table["neighbours"] = list(names[rng.integers(n, size=(n, 5))])
    table["neighbour_r"] = [[0.5] * 5] * n
    units = tables.conform(pd.DataFrame(table), (*tables.UNITS, *tables.NETWORK_UNITS))
    units.to_parquet(folder / "units.parquet", index=False, row_group_size=4096)
    writer = None
    for first in range(0, n, WIDTH):
        rows = np.repeat(np.arange(first, first + WIDTH), 2 * RANKS)
        sample = rng.integers(40, TOKENS - 40, size=len(rows))
        sign = np.tile(np.repeat([1, -1], RANKS), WIDTH)
        rank = np.tile(np.arange(1, RANKS + 1), 2 * WIDTH)
        made = {"unit": names[rows], "row": rows, "sign": sign, "rank": rank}
        made |= {"value": sign * (5 - rank / 50), "sample": sample, "document": sample // 500}
        made |= {"position": sample % 500, "token": sample % WORDS, "start": sample - 20}
        made |= {"stop": sample + 20, "activity": [[]] * len(rows)}
        part = tables.conform(pd.DataFrame(made), tables.EXAMPLES)
        schema = pa.Table.from_pandas(part, preserve_index=False)
        writer = writer or pq.ParquetWriter(folder / "examples.parquet", schema.schema)
        writer.write_table(schema, row_group_size=WIDTH * RANKS // 8)
    assert writer is not None
    writer.close()
    arrays = zarr.open_group(folder / "arrays.zarr", mode="w")
    arrays.create_array("histogram", data=rng.integers(99, size=(n, 64)), chunks=(512, 64))
    arrays.create_array("edges", data=np.linspace(-6, 6, 65))
    for name, values in {"token": np.arange(TOKENS) % WORDS, "document": 0, "position": 0}.items():
        arrays.create_array(name, data=np.broadcast_to(values, TOKENS).astype("int32"))
    words = {k: f" w{k}" for k in range(WORDS)}
    (folder / "vocabulary.json").write_text(json.dumps(words))
    about = {"network": "made-up", "text": "words", "n_tokens": TOKENS, "seconds": 1.0}
    (folder / "atlas.json").write_text(json.dumps(about))
    write_page(folder)
    return folder
