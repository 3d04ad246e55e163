"""A planted circuit: the network, its prompts, and the truth about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nissl.errors import require_known
from nissl.specimens.planted.builder import FILLERS, WORDS, Builder, tokenizer

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

__all__ = ["PlantedCircuit", "Variant", "finish", "make_pairs"]

Variant = Literal["planted", "zeroed", "untrained"]
N_PAIRS, LENGTH = 64, 11  # tokens of a prompt, the first of all not counted


@dataclass(frozen=True)
class PlantedCircuit:
    """A network with a circuit that was written by hand, and the truth about it.

    Parameters
    ----------
    module : LlamaForCausalLM
        In evaluation mode.
    tokenizer : PreTrainedTokenizerFast
        Of words.
    pairs : DataFrame, 64 rows
        ``text``, ``corrupted``, ``answer``, ``wrong`` and ``half``, as `make_task` takes them.
    nodes : frozenset of str
        Addresses of the heads and MLPs at which the two prompts of a pair differ and decide the
        answer. Empty where nothing is planted, as are the others.
    edges : frozenset of str
        Addresses of the edges along which they differ and decide it.
    inputs : frozenset of str
        Addresses of queries and keys of heads that do so.
    backups : frozenset of str
        Heads that act only where a node is taken away.

    Examples
    --------
    >>> from nissl.specimens import load
    >>> planted = load("planted-induction")
    >>> sorted(planted.nodes)
    ['blocks.0.attn.z[head 1]', 'blocks.1.attn.z[head 4]']
    """

    module: nn.Module
    tokenizer: Any
    pairs: pd.DataFrame
    nodes: frozenset[str]
    edges: frozenset[str]
    inputs: frozenset[str] = frozenset()
    backups: frozenset[str] = frozenset()


def finish(
    builder: Builder,
    pairs: pd.DataFrame,
    variant: Variant,
    *,
    edges: Iterable[str],
    backups: Iterable[str] = (),
) -> PlantedCircuit:
    """Add distractors and norms to what is planted.

    Parameters
    ----------
    builder : Builder
        With its circuit.
    pairs : DataFrame
        Its prompts.
    variant : {"planted", "zeroed", "untrained"}
        With the circuit; the same with the circuit's weights zero; with random weights.
    edges, backups : iterable of str
        As in `PlantedCircuit`, which has its nodes at the ends of edges.

    Returns
    -------
    PlantedCircuit
        The specimen.
    """
    require_known("variant", variant, ("planted", "zeroed", "untrained"))
    words, edges = tokenizer(), frozenset(edges)
    builder.add_distractors()
    builder.set_norms(words(pairs["text"].tolist(), return_tensors="pt")["input_ids"])
    if variant == "zeroed":
        for view in builder.planted:
            view.zero_()
    elif variant == "untrained":
        builder.model.load_state_dict(builder.untouched)
    for parameter in builder.model.parameters():
        parameter.requires_grad_(True)
    if variant != "planted":
        return PlantedCircuit(builder.model, words, pairs, frozenset(), frozenset())
    ends = {end for edge in edges for end in edge.split(" -> ")}
    return PlantedCircuit(
        builder.model,
        words,
        pairs,
        nodes=frozenset(end for end in ends if ".z[" in end or "mlp" in end),
        edges=edges,
        inputs=frozenset(end for end in ends if ".q[" in end or ".k[" in end),
        backups=frozenset(backups),
    )


def make_pairs(
    prompts: Callable[[np.random.Generator, list[str]], Iterator[tuple[list[str], ...]]],
) -> pd.DataFrame:
    """Make the pairs of a behaviour, in two halves that share no word.

    Parameters
    ----------
    prompts : callable
        Given a generator and the words of a half, yields the tokens of a clean and of a corrupted
        prompt, which are filled up in front, and a list of the answer and the wrong one.

    Returns
    -------
    DataFrame
        As `PlantedCircuit.pairs`.
    """
    import pandas as pd

    random, rows = np.random.default_rng(0), []
    for number, half in enumerate(("first", "second")):
        made = prompts(random, WORDS[number::2])
        for _ in range(N_PAIRS // 2):
            clean, corrupted, (answer, wrong) = next(made)
            front = list(random.choice(FILLERS, LENGTH - len(clean)))
            texts = " ".join(front + clean), " ".join(front + corrupted)
            rows.append((*texts, answer, wrong, half))
    return pd.DataFrame(rows, columns=["text", "corrupted", "answer", "wrong", "half"])
