"""Headers of EDF and BDF: sizes, rates and times that MNE reads past."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers._files import damaged

__all__ = ["EdfHeader", "edf_header", "gdf_units", "one_rate"]

#: Units of GDF 2 by their codes (BioSig).
CODES = {4256: "V", 4274: "mV", 4275: "uV", 4276: "nV", 544: "%", 6048: "\u00b0C", 2496: "Hz"}


@dataclass(frozen=True)
class EdfHeader:
    """What the header of an EDF or BDF says of its records."""

    path: Path
    size: int
    width: int
    n_records: int
    seconds: float
    labels: list[str]
    units: list[str]
    per_record: list[int]
    discontinuous: bool

    @property
    def rates(self) -> list[tuple[str, float]]:
        """The rate of every channel of numbers, in Hz."""
        return [
            (label, n / self.seconds)
            for label, n in zip(self.labels, self.per_record, strict=True)
            if not label.endswith(" Annotations")
        ]

    @property
    def onsets(self) -> np.ndarray[Any, Any]:
        """The time of every record in seconds from the first, as its time-keeping note says."""
        note = next((i for i, n in enumerate(self.labels) if n.endswith(" Annotations")), None)
        whole: np.ndarray[Any, Any] = np.arange(self.n_records) * self.seconds
        if note is None:
            return whole
        record = sum(self.per_record) * self.width
        before = sum(self.per_record[:note]) * self.width
        bytes_ = np.memmap(self.path, np.uint8, "r", self.size, (self.n_records, record))
        notes = bytes_[:, before : before + self.per_record[note] * self.width]
        found = [re.match(rb"([+-]\d+(?:\.\d+)?)\x14", row.tobytes()) for row in notes]
        if any(match is None for match in found):
            raise damaged(self.path, "EDF", "a record does not say when it begins")
        onsets = np.array([float(match.group(1)) for match in found if match])
        return np.asarray(onsets - onsets[0])

    @property
    def has_gaps(self) -> bool:
        """Whether records do not follow one another at once."""
        return self.discontinuous and not np.allclose(
            self.onsets, np.arange(self.n_records) * self.seconds, atol=1e-6
        )

    def times(self, rate: float) -> np.ndarray[Any, Any]:
        """Return the time of every sample at a rate, in seconds from the first."""
        n = round(rate * self.seconds)
        return np.asarray((self.onsets[:, None] + np.arange(n) / rate).ravel())


def edf_header(path: Path) -> EdfHeader:
    """Read a header, and refuse a file with fewer bytes than it states.

    Parameters
    ----------
    path : Path
        An EDF or BDF.

    Returns
    -------
    EdfHeader
        Sizes, labels and rates.

    Raises
    ------
    NisslError
        The header is none, or the file is cut short: MNE would quietly read less.
    """
    kind = path.suffix[1:].upper()
    width = 2 if kind == "EDF" else 3
    with path.open("rb") as file:
        header = file.read(256)
        try:
            size, n_records, n_signals = (
                int(header[a:b]) for a, b in ((184, 192), (236, 244), (252, 256))
            )
            seconds = float(header[244:252])
            if n_signals < 1 or size != 256 * (n_signals + 1) or not 0 <= seconds < np.inf:
                raise ValueError
            signals = file.read(256 * n_signals)
            labels = [signals[16 * i : 16 * i + 16] for i in range(n_signals)]
            units = [signals[96 * n_signals + 8 * i :][:8] for i in range(n_signals)]
            first = 216 * n_signals
            per_record = [int(signals[first + 8 * i : first + 8 * i + 8]) for i in range(n_signals)]
            if min(per_record) < 0 or sum(per_record) == 0:
                raise ValueError
        except ValueError as error:
            raise damaged(path, kind, "its header is not whole") from error
    there, record = path.stat().st_size, sum(per_record) * width
    stated = size + n_records * record
    if n_records >= 0 and there < stated:
        why = f"it has {there:,} bytes where its header states {stated:,}"
        raise damaged(path, kind, why)
    return EdfHeader(
        path=path,
        size=size,
        width=width,
        n_records=(there - size) // record,
        seconds=seconds or 1.0,
        labels=[label.decode("latin-1").strip() for label in labels],
        units=[unit.decode("latin-1").strip() for unit in units],
        per_record=per_record,
        discontinuous=header[192:197] in (b"EDF+D", b"BDF+D"),
    )


def gdf_units(path: Path) -> dict[str, str]:
    """Return the unit of every channel of a GDF, by its label; MNE keeps no other than volts."""
    with path.open("rb") as file:
        start = file.read(256)
        n = int.from_bytes(start[252:254], "little")
        signals = file.read(104 * n)
    labels = [signals[16 * i : 16 * i + 16].split(b"\0")[0].decode("latin-1") for i in range(n)]
    if start[4:5] == b"1":
        texts = [signals[96 * n + 8 * i :][:8].split(b"\0")[0].decode("latin-1") for i in range(n)]
    else:
        codes = np.frombuffer(signals, "<u2", n, offset=102 * n).tolist()
        texts = [CODES.get(code, "") for code in codes]
    return {label.strip(): text.strip() for label, text in zip(labels, texts, strict=True)}


def one_rate(
    path: Path, rates: Sequence[tuple[str, float]], channels: str | Sequence[str] | None
) -> list[str] | None:
    """Return the channels to read where a file has several rates, or None for all.

    Parameters
    ----------
    path : Path
        The file, for the error.
    rates : sequence of (str, float)
        The name and rate of every channel.
    channels : str or sequence of str, optional
        Those that are wanted.

    Returns
    -------
    list of str or None
        Names of channels that share a rate.

    Raises
    ------
    NisslError
        The wanted channels have several rates. MNE would invent samples for the slower ones.
    UnknownName
        There is no such channel.
    """
    if len({rate for _, rate in rates}) <= 1:
        return None
    wanted = [channels] if isinstance(channels, str) else list(channels or ())
    known = [name for name, _ in rates]
    named = [name for name in wanted if name in known]
    if channels is not None and not named:
        raise UnknownName("channel", wanted[0] if wanted else "", known)
    chosen = [(name, rate) for name, rate in rates if not named or name in named]
    if len({rate for _, rate in chosen}) > 1:
        by_rate: dict[float, list[str]] = {}
        for name, rate in chosen:
            by_rate.setdefault(rate, []).append(name)
        listed = "; ".join(f"{rate:g} Hz: {', '.join(n)}" for rate, n in by_rate.items())
        raise NisslError(
            f"the channels have several rates ({listed})",
            where=str(path),
            do=f"read one rate at a time: channels={by_rate[max(by_rate)]}, for one",
        )
    return [name for name, _ in chosen]
