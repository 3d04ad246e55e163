"""Binning five million spikes of a hundred units, beside numpy by hand; pynapple: bench-peers."""

from __future__ import annotations

from bench.measure import Row, in_turn, ratio
from bench.spikes_inside import BIN, N_SPIKES, N_UNITS, ROUNDS, SECONDS, by_hand, digest, table
from nissl.recording import bin_spikes


def run() -> list[Row]:
    """Return one row."""
    times, units = table()

    def ours() -> object:
        return bin_spikes({"time": times, "unit": units}, bin=BIN, start=0, stop=SECONDS)

    assert digest(ours()) == digest(by_hand(times, units))
    seconds = in_turn({"ours": ours, "hand": lambda: by_hand(times, units)}, rounds=ROUNDS)
    _, spread = ratio(seconds["ours"], seconds["hand"])
    return [
        Row(
            name=f"bin {N_SPIKES:,} spikes of {N_UNITS} units from an unsorted table",
            ratio=min(seconds["ours"]) / min(seconds["hand"]),
            unit="x numpy",
            target=None,
            limit=1.0,
            seconds=min(seconds["ours"]),
            note=f"edges to a nanosecond, labelled; of the quickest, {spread}",
        )
    ]
