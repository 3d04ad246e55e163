"""Head scores: what the attention of each head looks at, and what the head makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nissl.behaviour.repeated_tokens import repeated_tokens
from nissl.errors import NisslError, require_known
from nissl.methods import method
from nissl.network import nodes_of
from nissl.network.sites.weights import folded_unembedding
from nissl.progress import progress_bar
from nissl.statistics import Finding, Test, paired_test

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["HEAD_SCORES", "HeadRun", "head_runs", "head_scores"]

TINY = 1e-30  # the least norm of a value, whose logarithm is taken
BYTES = 2**28  # of one site's activity that is held at a time
DISTANCES = (0, *range(2, 9))  # what attention to the token before is set beside
# By how much a score has to exceed what is beside it. Heads of an untrained network are not all
# alike either: with enough sequences any of them differs from nothing.
MARGINS = dict.fromkeys(("prefix_matching", "duplicate_token", "previous_token", "sink"), 0.05)
MARGINS |= {"copying": 0.05, "value_drain": math.log(2)}


@method(system=236)
def head_scores(
    net: Network,
    score: str | HeadScore = "prefix_matching",
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
    score : {"prefix_matching", "duplicate_token", "previous_token", "copying", "sink", \
"value_drain"} or callable
        "prefix_matching": attention, from tokens that came before, to what followed them then;
        "duplicate_token": to where they were; beside it, attention to the same places where those
        tokens had not come before. "previous_token": attention to the token before; beside it, to
        the most attended of the other distances up to eight. "copying": how much the head raises
        the logits of tokens in proportion as it attends to them, in deviations of the logits of
        the sequence's tokens; beside it, those of the tokens as far from them, at the distance
        where this is most. "sink": attention to the first token; beside it, to the most attended
        place of another. "value_drain": the natural logarithm of the norm of values, of the
        shortest of other tokens; beside it, of the first. A callable is given a `HeadRun` and
        returns both, each shape (batch, head).
    inputs : Tensor of int64, shape (n, position), optional
        Token ids to read instead, all of one length; not for "prefix_matching".
    n, length : int
        Sequences, and tokens in each before these are repeated once.
    test : Test or None
        Draws (999), tail, correction over heads, alternative ("greater"), seed, which is that of
        the tokens too. The null: in each sequence, the score and what is beside it, and 0.05 more
        (of a value drain ln 2: half as long), trade places.
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
    What each is set beside is ours, as are deviations as the unit of copying.

    Examples
    --------
    >>> found = head_scores(nissl.load("smollm2"))  # doctest: +SKIP
    >>> found.top(2).units  # doctest: +SKIP
    ['blocks.0.attn.z[head 1]', 'blocks.17.attn.z[head 3]']
    """
    if isinstance(score, str):
        require_known("score", score, list(HEAD_SCORES))
    compute = HEAD_SCORES[score] if isinstance(score, str) else score
    name = score if isinstance(score, str) else getattr(score, "__name__", "score")
    if inputs is not None and name == "prefix_matching":
        raise NisslError("these inputs may repeat nothing", do="leave inputs= out")
    seed = 0 if test is None else test.seed
    ids = repeated_tokens(net, n=n, length=length, seed=seed) if inputs is None else inputs
    title = f"Heads of {net.name}: {name}"
    runs = head_runs(net, ids, length, batch_size=batch_size, title=title, progress=progress)
    each = [[x.double().cpu() for x in compute(run)] for run in runs]
    own, beside = (torch.cat(part).numpy() for part in zip(*each, strict=True))
    margin = MARGINS.get(name, 0.0) if isinstance(score, str) else 0.0
    nodes = nodes_of(net, "blocks.*.attn.z")
    difference = own.mean(0) - beside.mean(0)
    units = nodes.table().assign(
        head=np.asarray([node.index for node in nodes]), mean=own.mean(0), beside=beside.mean(0)
    )
    columns = {name: difference, "effect": difference}
    said: dict[str, str | int | float] = {"network": net.name, "margin": margin}
    said |= {"sequences": len(ids), "length": ids.shape[1]}
    if test is None:
        return Finding(units.assign(**columns), "head_scores", "none", said, name)
    how: Any = {"score": name, "method": "head_scores", "test": test, "progress": progress}
    # Rows keep their order.
    return paired_test(own, beside + margin, units=units, **how).assign(said, **columns)


def head_runs(
    net: Network, ids: Tensor, length: int, *, batch_size: int, title: str, progress: bool
) -> Iterator[HeadRun]:
    """Yield sequences of tokens some at a time, without gradients, while a bar is shown."""
    with progress_bar(title, total=len(ids), unit="sequences", progress=progress) as advance:
        for rows in ids.split(batch_size):
            with torch.inference_mode():
                yield HeadRun(net, rows, length)
            advance(len(rows))


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

    def read(self, *names: str) -> Iterator[tuple[Tensor, ...]]:
        """Yield sites of each block, each shape (batch, position, ...), some blocks at a time."""
        n_layers, (rows, tokens) = self.net.n_layers, self.ids.shape
        heads = self.net.find("blocks.0.attn.z")[0].heads or 1
        width = max(tokens, self.net.find("blocks.0.resid_pre")[0].width or 1)
        step = max(1, BYTES // (4 * rows * tokens * heads * width))
        for start in range(0, n_layers, step):
            blocks = [f"blocks.{layer}" for layer in range(start, min(start + step, n_layers))]
            found = self.net.run(self.ids, sites=[f"{b}.{name}" for b in blocks for name in names])
            for block in blocks:
                yield tuple(found.pop(f"{block}.{name}").float() for name in names)

    def attention(self, *keys: Callable[[Tensor], Tensor], first: int) -> list[Tensor]:
        """Return attention to keys, the mean over queries, each shape (batch, head).

        Parameters
        ----------
        *keys : callable
            Given positions of queries, returns those of one key of each.
        first : int
            The first query; it has all these keys.
        """
        queries = torch.arange(first, self.ids.shape[1])
        parts: list[list[Tensor]] = [[] for _ in keys]
        for (pattern,) in self.read("attn.pattern"):
            for part, key in zip(parts, keys, strict=True):
                part.append(pattern[:, queries, :, key(queries)].mean(0))
        return [torch.cat(part, -1) for part in parts]


def _earlier(distance: int) -> Callable[[HeadRun], tuple[Tensor, Tensor]]:
    """Return the attention to so much after where a token was before."""

    def score(run: HeadRun) -> tuple[Tensor, Tensor]:
        start = run.ids.shape[1] - 2 * run.length
        begin, half = run.ids[:, :start], run.ids[:, -run.length :]
        # The same tokens in the same places, but for where they came before.
        other = torch.cat([begin, half.roll(run.length // 2, 1), half], 1)
        runs = run, HeadRun(run.net, other, run.length)
        matched, beside = (
            each.attention(lambda q: q - run.length + distance, first=start + run.length)[0]
            for each in runs
        )
        return matched, beside

    return score


def _previous_token(run: HeadRun) -> tuple[Tensor, Tensor]:
    distances = [d for d in DISTANCES if d < run.ids.shape[1] - 2]
    keys = [lambda q, d=d: q - d for d in (1, *distances)]
    own, *others = run.attention(*keys, first=max(distances))
    return own, torch.stack(others).amax(0)


def _sink(run: HeadRun) -> tuple[Tensor, Tensor]:
    half = run.ids.shape[1] // 2  # the later half of queries sees all keys of the earlier
    each = [pattern[:, half:, :, :half].mean(1) for (pattern,) in run.read("attn.pattern")]
    keys = torch.cat(each, 1)
    return keys[..., 0], keys[..., 1:].amax(-1)


def _copying(run: HeadRun) -> tuple[Tensor, Tensor]:
    unembedding = folded_unembedding(run.net)
    if unembedding is None:
        raise NisslError(f"{run.net.name} has no unembedding", do="ask for another score")
    tokens = unembedding[run.ids]
    half = run.ids.shape[1] // 2  # at half the tokens are the same again
    parts: list[list[Tensor]] = [[], []]
    for pattern, heads in run.read("attn.pattern", "attn.heads"):
        each = heads.unflatten(-1, (pattern.shape[2], -1))
        logits = torch.einsum("bqhd,bkd->bqhk", each, tokens)
        spread = logits.std(-1, keepdim=True).clamp_min(1e-6 * float(logits.abs().max()) + TINY)
        standard = (logits - logits.mean(-1, keepdim=True)) / spread
        # Not of the first token, at which heads rest.
        pattern, standard = pattern[:, 1:, :, 1:], standard[:, 1:, :, 1:]
        shifted = (standard.roll(-shift, -1) for shift in range(half - 1))
        own, *others = [(pattern * x).sum(-1).mean(1) for x in shifted]
        parts[0].append(own)
        parts[1].append(torch.stack(others).amax(0))
    own, beside = (torch.cat(part, 1) for part in parts)
    return own, beside


def _value_drain(run: HeadRun) -> tuple[Tensor, Tensor]:
    parts = []
    sites = zip(*(run.net.find(f"blocks.*.attn.{kind}") for kind in "zv"), strict=True)
    for (value,), (z, v) in zip(run.read("attn.v"), sites, strict=True):
        heads, groups = z.heads or 1, v.heads or 1
        norms = value.unflatten(-1, (groups, -1)).norm(dim=-1).clamp_min(TINY).log()
        parts.append(norms.repeat_interleave(heads // groups, -1))
    whole = torch.cat(parts, -1)
    return whole[:, 1:].amin(1), whole[:, 0]


HeadScore: TypeAlias = Callable[[HeadRun], tuple[Tensor, Tensor]]
"""Given a `HeadRun`, returns the score and what it is set beside, each shape (batch, head)."""

HEAD_SCORES: dict[str, HeadScore] = {
    "prefix_matching": _earlier(1),
    "duplicate_token": _earlier(0),
    "previous_token": _previous_token,
    "copying": _copying,
    "sink": _sink,
    "value_drain": _value_drain,
}
