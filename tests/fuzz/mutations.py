"""Changes to bytes and texts that know what formats are made of: counts, sizes, streams."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable

import numpy as np

EXTREMES = [-(2**63), -(2**31), -(2**15), -60, -1, 0, 1, 2, 255, 2**15 - 1, 2**31 - 1, 2**32, 2**62]
WORDS = ["", "-1", "0", "nan", "inf", "1e309", "99999999999999999999999", "é", "\x00", "[]", "../x"]

Rng = np.random.Generator


def flip(data: bytearray, rng: Rng) -> None:
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def number(data: bytearray, rng: Rng) -> None:
    """Write an extreme number of some width, either end first, mostly near the beginning."""
    width = int(rng.choice([1, 2, 4, 8]))
    value = int(rng.choice(len(EXTREMES)))
    order = "little" if rng.random() < 0.5 else "big"
    bits = (EXTREMES[value] % 2 ** (8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    end = len(data) if rng.random() < 0.4 else min(len(data), 512)
    place = int(rng.integers(max(1, end - width + 1)))
    data[place : place + width] = bits


def written(data: bytearray, rng: Rng) -> None:
    """Replace a number or word that is written in letters, keeping the width half of the time."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?|[A-Za-z_]{3,}", bytes(data[:20000])))
    if not found:
        return flip(data, rng)
    spot = found[int(rng.integers(len(found)))]
    word = WORDS[int(rng.integers(len(WORDS)))].encode()
    if rng.random() < 0.5:
        word = word[: spot.end() - spot.start()].ljust(spot.end() - spot.start())
    data[spot.start() : spot.end()] = word
    return None


def cut(data: bytearray, rng: Rng) -> None:
    del data[int(rng.integers(len(data))) :]


def drop(data: bytearray, rng: Rng) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.choice([1, 4, 16, 256]))]


def repeat(data: bytearray, rng: Rng) -> None:
    start = int(rng.integers(len(data)))
    part = data[start : start + int(rng.choice([1, 4, 16, 256]))]
    data[start:start] = part * int(rng.choice([1, 3]))


def blank(data: bytearray, rng: Rng) -> None:
    start = int(rng.integers(len(data)))
    stop = min(len(data), start + int(rng.choice([4, 16, 256])))
    data[start:stop] = bytes([int(rng.choice([0, 255]))]) * (stop - start)


PLAIN: list[Callable[[bytearray, Rng], None]] = [
    flip, number, number, number, written, written, cut, drop, repeat, blank,
]  # fmt: skip


def mutated(data: bytes, rng: Rng) -> bytes:
    """Return a file with one to three changes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if changed:
            PLAIN[int(rng.integers(len(PLAIN)))](changed, rng)
    return bytes(changed)


def within_gzip(data: bytes, rng: Rng) -> bytes:
    """Change what is packed, and pack it again so that its checksum fits."""
    return gzip.compress(mutated(gzip.decompress(data), rng), 1, mtime=0)


def within_zip(data: bytes, rng: Rng) -> bytes:
    """Change one member, and pack all again so that the checksums fit."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
        names = old.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            body = old.read(name)
            new.writestr(name, mutated(body, rng) if name == chosen and body else body)
    return packed.getvalue()
