"""The whole of `nissl check` on SmolLM2, in forward passes over the same texts."""

from __future__ import annotations

import torch

import nissl
from bench.measure import Row, in_turn, one_thread, ratio
from nissl.network import conformance


def run(rounds: int = 3) -> list[Row]:
    """Return how many forward passes the whole check takes."""
    one_thread()
    net = nissl.load("smollm2", progress=False)
    texts = [text[:100] for text in nissl.read("reader")["text"][:3]]
    batch = net.tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=32)

    def plain() -> None:
        with torch.inference_mode():
            net.model(**batch, use_cache=False)

    plain()
    seconds = in_turn(
        {"check": lambda: conformance(net, texts, progress=False), "plain": plain}, rounds=rounds
    )
    value, spread = ratio(seconds["check"], seconds["plain"])
    return [
        Row(
            name="nissl check of SmolLM2, three texts of 32 tokens",
            ratio=value,
            unit="forwards",
            target=None,
            limit=None,
            seconds=min(seconds["check"]),
            note=f"{spread}; {min(seconds['check']):.1f} s of one core",
        )
    ]
