"""A cross-encoder that scores a pair by the words that both texts hold, and pairs for it."""

import numpy as np
import pandas as pd
import torch
from torch import nn

import nissl
from tiny import SPECIAL, WORDS, pair_tokenizer


class Matcher(nn.Module):
    """Scores a pair by the words that both texts hold; other units look at the passage alone.

    Unit i is open where word i is in query and passage; unit 12 + i where it is in the passage.
    """

    def __init__(self):
        super().__init__()
        n = len(WORDS)
        self.embed = nn.Embedding(len(SPECIAL) + n, n)
        self.embed.weight.data = torch.cat([torch.zeros(len(SPECIAL), n), torch.eye(n)])
        self.read = nn.Linear(2 * n, 2 * n)
        eye, nothing = torch.eye(n), torch.zeros(n, n)
        self.read.weight.data = torch.cat(
            [torch.cat([eye, eye], 1), torch.cat([nothing, eye], 1)], 0
        )
        self.read.bias.data = torch.cat([-torch.ones(n), torch.zeros(n)])
        self.open = nn.ReLU()
        self.write = nn.Linear(2 * n, 1)
        generator = torch.Generator().manual_seed(0)
        self.write.weight.data = torch.cat(
            [torch.ones(n), 0.3 * torch.randn(n, generator=generator)]
        )[None]

    def forward(self, input_ids, attention_mask, token_type_ids):
        x = self.embed(input_ids) * attention_mask[..., None]
        query, passage = ((x * (token_type_ids == part)[..., None]).sum(1) for part in (0, 1))
        return self.write(self.open(self.read(torch.cat([query, passage], -1))))


def matcher():
    return nissl.load(Matcher(), tokenizer=pair_tokenizer())


def some_pairs(n_queries=40, *, candidates=4, seed=0):
    """Queries of two words and passages of three; relevant ones share a word with the query."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(n_queries):
        words = rng.permutation(WORDS)
        query = f"{words[0]} {words[1]}"
        for place in range(candidates):
            own = [words[rng.integers(2)]] if place == 0 else []
            rest = rng.choice(words[2:], 3 - len(own), replace=False)
            rows.append((query, " ".join([*own, *rest]), place == 0, number))
    return pd.DataFrame(rows, columns=["query", "passage", "relevant", "number"])
