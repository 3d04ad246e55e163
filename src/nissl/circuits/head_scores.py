"""Head scores: what the attention of each head looks at, and what the head makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError, require_known
from nissl.methods import method
from nissl.progress import progress_bar
from nissl.statistics import Finding, Test, paired_test

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["HEAD_SCORES", "HeadRun", "head_scores", "repeated_tokens"]

TINY = 1e-30  # the least norm of a value, whose logarithm is taken


@method(system=236)
def head_scores(
    net: Network,
    score: Literal["prefix_matching", "previous_token", "copying", "sink", "value_drain"]
    | HeadScore = "prefix_matching",
    *,
    inputs: Tensor | None = None,
    n: int = 32,
    length: int = 25,
    test: Test | None = Test(),
    batch_size: int = 8,
    progress: bool = True,
) -> Finding:
    """Score every attention head by what it attends to, on tokens drawn at random and repeated.

    Parameters
    ----------
    net : Network
        A language model.
    score : {"prefix_matching", "previous_token", "copying", "sink", "value_drain"} or callable
        "prefix_matching": attention, from tokens that came before, to what followed them then;
        beside it, attention to the same places where those tokens had not come before.
        "previous_token": attention to the token before; beside it, to others, on average.
        "copying": how much more the head adds to the logit of tokens in proportion as it attends
        to them; beside it, what it adds to those that it could attend to. "sink": attention to the
        first token; beside it, to others. "value_drain": the natural logarithm of the norm of
        values, of other tokens; beside it, of the first. A callable is given a `HeadRun` and
        returns both, each shape (batch, head).
    inputs : Tensor of int64, shape (n, position), optional
        Token ids to read instead, all of one length; not for "prefix_matching".
    n, length : int
        Sequences, and tokens in each before these are repeated once.
    test : Test or None
        Draws (999), tail, correction over heads, alternative ("greater"), seed, which is that of
        the tokens too. The null: in each sequence, the score and what is beside it trade places.
    batch_size : int
        Sequences in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each head, ``blocks.3.attn.z[head 5]``: the mean over sequences of the score
        less what is beside it (named after the score), ``mean`` and ``beside`` (the two), p, q,
        ``site``, ``layer`` and ``head``.

    Raises
    ------
    NisslError
        The network has no attention patterns, or fewer tokens than are drawn.

    Notes
    -----
    Source: Olsson et al. 2022 (prefix matching, copying); Guo et al. 2024 (sinks, value drains).
    "copying" leaves out the final norm. What each is set beside is ours.

    Examples
    --------
    >>> found = head_scores(nissl.load("smollm2"))  # doctest: +SKIP
    >>> found.top(2).units  # doctest: +SKIP
    ['blocks.0.attn.z[head 1]', 'blocks.17.attn.z[head 3]']
    """
    import pandas as pd

    if isinstance(score, str):
        require_known("score", score, list(HEAD_SCORES))
    compute = HEAD_SCORES[score] if isinstance(score, str) else score
    name = score if isinstance(score, str) else getattr(score, "__name__", "score")
    if inputs is not None and name == "prefix_matching":
        raise NisslError("these inputs may repeat nothing", do="leave inputs= out")
    seed = 0 if test is None else test.seed
    ids = repeated_tokens(net, n=n, length=length, seed=seed) if inputs is None else inputs
    parts: list[list[Tensor]] = [[], []]
    title = f"Heads of {net.name}: {name}"
    with progress_bar(title, total=len(ids), unit="sequences", progress=progress) as advance:
        for rows in ids.split(batch_size):
            with torch.inference_mode():
                for part, values in zip(parts, compute(HeadRun(net, rows, length)), strict=True):
                    part.append(values.double().cpu())
            advance(len(rows))
    own, beside = (torch.cat(part).numpy() for part in parts)
    units = pd.DataFrame(
        [
            (f"{site.name}[head {head}]", site.name, site.layer, head)
            for site in net.find("blocks.*.attn.z")
            for head in range(site.heads or 0)
        ],
        columns=["unit", "site", "layer", "head"],
    ).assign(mean=own.mean(0), beside=beside.mean(0))
    said: dict[str, str | int | float] = {
        "network": net.name,
        "sequences": len(ids),
        "length": ids.shape[1],
    }
    if test is None:
        difference = own.mean(0) - beside.mean(0)
        table = units.assign(**{name: difference, "effect": difference})
        return Finding(table, "head_scores", "none", said, name)
    found = paired_test(
        own, beside, units=units, score=name, method="head_scores", test=test, progress=progress
    )
    return found.assign(said)


def repeated_tokens(net: Network, *, n: int = 32, length: int = 25, seed: int = 0) -> Tensor:
    """Draw sequences of tokens, all different, each repeated once.

    Parameters
    ----------
    net : Network
        A language model. What its tokenizer puts before every text stands before each sequence.
    n, length : int
        Sequences, and tokens of one before it is repeated.
    seed : int
        Of the draws.

    Returns
    -------
    Tensor of int64, shape (n, [1 +] 2 x length)
        Token ids.

    Raises
    ------
    NisslError
        The network does not know so many tokens.
    """
    size = net.vocabulary_size
    if size is None or size < length or length < 2:
        raise NisslError(
            f"{size or 'an unknown number of'} tokens give no sequences of {length} different ones",
            do="give length= from 2 to the size of the vocabulary",
        )
    rng = np.random.default_rng(seed)
    half = torch.from_numpy(np.stack([rng.permutation(size)[:length] for _ in range(n)]))
    begin = [] if net.tokenizer is None else net.tokenizer.encode("")
    first = torch.tensor(begin[:1] if len(begin) == 1 else [], dtype=torch.int64).expand(n, -1)
    return torch.cat([first, half, half], 1)


@dataclass(frozen=True)
class HeadRun:
    """Sequences that a network reads, and what its attention does on them.

    Parameters
    ----------
    net : Network
        The network.
    ids : Tensor of int64, shape (batch, position)
        The sequences.
    length : int
        What is repeated: the last tokens, of which there are so many, came before.
    """

    net: Network
    ids: Tensor
    length: int

    def read(self, name: str) -> list[Tensor]:
        """Return a site of every block, each shape (batch, position, ...)."""
        found = self.net.run(self.ids, sites=f"blocks.*.{name}")
        return [found[site.name].float() for site in self.net.find(f"blocks.*.{name}")]

    def attention(self, key: Callable[[Tensor], Tensor], *, first: int) -> tuple[Tensor, Tensor]:
        """Return attention to one key of each query, and to the others: (batch, head) each.

        Parameters
        ----------
        key : callable
            Given positions of queries, returns those of the keys.
        first : int
            The first query; it and its key are not the same.
        """
        queries = torch.arange(first, self.ids.shape[1])
        parts = [x[:, queries, :, key(queries)].transpose(0, 1) for x in self.read("attn.pattern")]
        chosen = torch.cat(parts, -1)  # (batch, query, head)
        others = (1 - chosen) / queries[:, None]
        return chosen.mean(1), others.mean(1)


def _prefix_matching(run: HeadRun) -> tuple[Tensor, Tensor]:
    start = run.ids.shape[1] - 2 * run.length
    begin, half = run.ids[:, :start], run.ids[:, -run.length :]
    # The same tokens in the same places, but for where they came before.
    other = torch.cat([begin, half.roll(run.length // 2, 1), half], 1)
    where = {"first": start + run.length}
    after = lambda q: q - run.length + 1  # noqa: E731
    matched, _ = run.attention(after, **where)
    return matched, HeadRun(run.net, other, run.length).attention(after, **where)[0]


def _previous_token(run: HeadRun) -> tuple[Tensor, Tensor]:
    return run.attention(lambda q: q - 1, first=2)


def _sink(run: HeadRun) -> tuple[Tensor, Tensor]:
    return run.attention(torch.zeros_like, first=2)


def _copying(run: HeadRun) -> tuple[Tensor, Tensor]:
    tokens = run.net.unembedding[run.ids].float()
    seen = torch.ones(run.ids.shape[1], run.ids.shape[1]).tril().to(tokens)
    parts = []
    for pattern, heads in zip(run.read("attn.pattern"), run.read("attn.heads"), strict=True):
        each = heads.unflatten(-1, (pattern.shape[2], -1))
        logits = torch.einsum("bqhd,bkd->bqhk", each, tokens)
        weights = torch.stack(
            [pattern, (seen / seen.sum(1, keepdim=True))[:, None].expand_as(pattern)]
        )
        parts.append((weights * logits)[:, :, 1:].sum(-1).mean(2))
    own, beside = torch.cat(parts, -1)
    return own, beside


def _value_drain(run: HeadRun) -> tuple[Tensor, Tensor]:
    parts = []
    for value, site in zip(run.read("attn.v"), run.net.find("blocks.*.attn.z"), strict=True):
        heads, groups = (
            site.heads or 1,
            run.net.find(site.name.replace("attn.z", "attn.v"))[0].heads or 1,
        )
        norms = value.unflatten(-1, (groups, -1)).norm(dim=-1).clamp_min(TINY).log()
        parts.append(norms.repeat_interleave(heads // groups, -1))
    whole = torch.cat(parts, -1)
    return whole[:, 1:].mean(1), whole[:, 0]


HeadScore: TypeAlias = Callable[[HeadRun], tuple[Tensor, Tensor]]
"""Given a `HeadRun`, returns the score and what it is set beside, each shape (batch, head)."""

HEAD_SCORES: dict[str, HeadScore] = {
    "prefix_matching": _prefix_matching,
    "previous_token": _previous_token,
    "copying": _copying,
    "sink": _sink,
    "value_drain": _value_drain,
}
