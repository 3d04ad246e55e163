"""Planted circuits: networks with a circuit written by hand, their prompts, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from nissl.errors import require_known
from nissl.specimens.planted.builder import (
    CONSTANT,
    FILLERS,
    SIZE,
    SWITCHES,
    WORDS,
    Builder,
    tokenizer,
)

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

__all__ = [
    "PlantedCircuit",
    "backup_head",
    "cancelling_paths",
    "induction",
    "planted_circuit",
    "previous_token",
    "saturated_gate",
    "two_hops",
]

Prompts = Iterator[tuple[list[str], ...]]
N_PAIRS, LENGTH = 64, 11  # tokens of a prompt, the first of all not counted
EVEN = np.arange(len(WORDS)) // 2 % 2 == 0  # half of the words of each half
FIRST, SECOND = ((np.arange(len(WORDS)) + n) % len(WORDS) for n in (4, 6))  # B of A, C of B


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
    nodes: frozenset[str] = frozenset()
    edges: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    backups: frozenset[str] = frozenset()


def planted_circuit(
    name: str, variant: Literal["planted", "zeroed", "untrained"] = "planted", *, seed: int = 0
) -> PlantedCircuit:
    """Make a network with a circuit.

    Parameters
    ----------
    name : {"previous_token", "induction", "two_hops", "saturated_gate", "cancelling_paths", \
"backup_head"}
        Which.
    variant : {"planted", "zeroed", "untrained"}
        With the circuit; the same with the circuit's weights zero; with random weights.
    seed : int
        Of the basis of the residual stream, and of distractors.

    Returns
    -------
    PlantedCircuit
        In every variant with the same prompts, whose halves share no word.

    Raises
    ------
    UnknownName
        There is no such circuit or variant.

    Notes
    -----
    In a pair of "two_hops", "cancelling_paths", "backup_head" and "previous_token" a word differs;
    of "induction", the words before two others trade places; of "saturated_gate", a token that
    tells which of two words is asked for. The failures planted in "saturated_gate" and
    "cancelling_paths" are those of Kramár et al. 2024, AtP*: a softmax without a gradient, and two
    paths that by gradients cancel, where in truth half of the effect is left. The backup of
    "backup_head" rests while any word is answered, and says the word where the first head is set to
    zero.

    Examples
    --------
    >>> planted_circuit("two_hops", "zeroed").edges
    frozenset()
    """
    require_known("planted circuit", name, list(CIRCUITS))
    require_known("variant", variant, ("planted", "zeroed", "untrained"))
    n_layers, plant, prompts = CIRCUITS[name]
    builder, words, pairs = Builder(n_layers, seed=seed), tokenizer(), _pairs(prompts)
    edges, backups = plant(builder)
    builder.add_distractors()
    builder.set_norms(words(pairs["text"].tolist(), return_tensors="pt")["input_ids"])
    if variant == "zeroed":
        for view in builder.planted:
            view.zero_()
    elif variant == "untrained":
        builder.model.load_state_dict(builder.untouched)
    builder.model.requires_grad_(True)
    if variant != "planted":
        return PlantedCircuit(builder.model, words, pairs)
    ends = {end for edge in edges for end in edge.split(" -> ")}
    nodes = frozenset(end for end in ends if ".z[" in end or "mlp" in end)
    inputs = frozenset(end for end in ends if ".q[" in end or ".k[" in end)
    return PlantedCircuit(
        builder.model, words, pairs, nodes, frozenset(edges), inputs, frozenset(backups)
    )


def _pairs(prompts: Callable[[np.random.Generator, list[str]], Prompts]) -> pd.DataFrame:
    """Return pairs of prompts, filled up in front, in two halves that share no word."""
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


Planted = tuple[list[str], list[str]]  # edges and backups


def _previous_token(builder: Builder) -> Planted:
    """A head that attends to the previous token and says it."""
    says = builder.head(1, 2, value=builder.space["word"], write=builder.space["answer"])
    return ["embed -> blocks.1.attn.v[head 2]", f"{says} -> logits"], []


def _words_in_a_row(random: np.random.Generator, words: list[str]) -> Prompts:
    while True:
        a, b, *others = random.permutation(words)
        before, last = others[:4], random.choice(FILLERS)
        yield [*before, a, last], [*before, b, last], [a, b]


def _induction(builder: Builder) -> Planted:
    """A head that tells each token the one before, and one that goes on as after the same token."""
    word, middle, answer = (builder.space[name] for name in ("word", "middle", "answer"))
    tells = builder.head(0, 1, value=word, write=middle)
    match = {"query": word / SIZE, "key": middle / SIZE, "strength": 5.0, "rest": 2.0}
    goes_on = builder.head(1, 4, **match, value=word, write=answer)
    edges = [
        "embed -> blocks.0.attn.v[head 1]",
        f"{tells} -> blocks.1.attn.k[head 4]",
        f"{goes_on} -> logits",
    ]
    return edges, []


def _repeated(random: np.random.Generator, words: list[str]) -> Prompts:
    """A B ... C D ... A, whose answer is B; corrupted, C B ... A D ... A."""
    while True:
        a, b, c, d, *_ = random.permutation(words)
        f, g, h = random.choice(FILLERS, 3)
        two = [(a, b, c, d), (c, b, a, d)]
        if random.integers(2):
            two = [(w[2], w[3], w[0], w[1]) for w in two]
        clean, corrupted = ([p, q, f, r, s, g, h, a] for p, q, r, s in two)
        yield clean, corrupted, [b, d]


def _two_hops(builder: Builder) -> Planted:
    """An MLP that knows B of A, a head that moves B, and an MLP that knows C of B."""
    word, middle, answer = (builder.space[name] for name in ("word", "middle", "answer"))
    hop = builder.lookup(0, read=word, write=middle[:, FIRST])
    moves = builder.head(1, 3, **_at_the_word(builder), value=middle, write=middle)
    hops = builder.lookup(2, read=middle, write=answer[:, SECOND])
    edges = [
        f"embed -> {hop}",
        f"{hop} -> blocks.1.attn.v[head 3]",
        f"{moves} -> {hops}",
        f"{hops} -> logits",
    ]
    return edges, []


def _one_word(random: np.random.Generator, words: list[str]) -> Prompts:
    while True:
        a, b = random.permutation(words)[:2]
        behind = list(random.choice(FILLERS, random.integers(1, 6)))
        yield [a, *behind], [b, *behind], [a, b]


def _one_word_two_hops(random: np.random.Generator, words: list[str]) -> Prompts:
    for clean, corrupted, answers in _one_word(random, words):
        yield clean, corrupted, [WORDS[SECOND[FIRST[WORDS.index(word)]]] for word in answers]


def _saturated_gate(builder: Builder) -> Planted:
    """A head that moves a switch, and one that chooses by it, so surely that gradients vanish."""
    space, switch = builder.space, builder.space["switch"] / SIZE
    moved = space["middle"][:, :2]
    at_switch = {
        "query": space["constant"] / CONSTANT,
        "key": switch.sum(1, keepdim=True),
        "rest": 2.0,
    }
    moves = builder.head(0, 5, **at_switch, value=space["switch"], write=moved)
    kinds = [space["word"][:, which].sum(1, keepdim=True) / SIZE for which in (EVEN, ~EVEN)]
    match = {"query": moved / SIZE, "key": torch.cat(kinds, 1), "strength": 40.0}
    chooses = builder.head(1, 0, **match, value=space["word"], write=space["answer"])
    edges = [
        "embed -> blocks.0.attn.v[head 5]",
        f"{moves} -> blocks.1.attn.q[head 0]",
        f"{chooses} -> logits",
    ]
    return edges, []


def _one_of_two_words(random: np.random.Generator, words: list[str]) -> Prompts:
    while True:
        both = [random.choice(words[::2]), random.choice(words[1::2])]
        order = both if random.integers(2) else both[::-1]
        f, *behind = random.choice(FILLERS, 3)
        which = random.permutation(2)
        clean, corrupted = ([order[0], f, order[1], SWITCHES[i], *behind] for i in which)
        yield clean, corrupted, [both[i] for i in which]


def _cancelling_paths(builder: Builder) -> Planted:
    """A head that says a word, and an MLP that takes half of it away, by slopes all of it."""
    says = _says_the_word(builder, 1, 1)
    takes = builder.steps(2, read=builder.space["answer"])
    edges = [
        "embed -> blocks.1.attn.v[head 1]",
        f"{says} -> {takes}",
        f"{says} -> logits",
        f"{takes} -> logits",
    ]
    return edges, []


def _backup_head(builder: Builder) -> Planted:
    """A head that says a word, and one that says it if nothing has been said."""
    says = _says_the_word(builder, 0, 2)
    said = builder.space["answer"].sum(1, keepdim=True) / SIZE
    backup = _says_the_word(builder, 2, 4, unless=said)
    return ["embed -> blocks.0.attn.v[head 2]", f"{says} -> logits"], [backup]


def _at_the_word(builder: Builder, unless: Tensor | float = 0.0) -> dict[str, Any]:
    """Return how a head attends to a word from anywhere, unless a direction is present."""
    constant, word = builder.space["constant"], builder.space["word"]
    query = constant / CONSTANT - 2.0 * unless
    return {"query": query, "key": word.sum(1, keepdim=True) / SIZE, "rest": 2.0}


def _says_the_word(builder: Builder, layer: int, head: int, unless: Tensor | float = 0.0) -> str:
    where, space = _at_the_word(builder, unless), builder.space
    return builder.head(layer, head, **where, value=space["word"], write=space["answer"])


CIRCUITS: dict[str, tuple[int, Callable[[Builder], Planted], Callable[..., Prompts]]] = {
    "previous_token": (2, _previous_token, _words_in_a_row),
    "induction": (2, _induction, _repeated),
    "two_hops": (3, _two_hops, _one_word_two_hops),
    "saturated_gate": (2, _saturated_gate, _one_of_two_words),
    "cancelling_paths": (3, _cancelling_paths, _one_word),
    "backup_head": (3, _backup_head, _one_word),
}

previous_token = partial(planted_circuit, "previous_token")
induction = partial(planted_circuit, "induction")
two_hops = partial(planted_circuit, "two_hops")
saturated_gate = partial(planted_circuit, "saturated_gate")
cancelling_paths = partial(planted_circuit, "cancelling_paths")
backup_head = partial(planted_circuit, "backup_head")
