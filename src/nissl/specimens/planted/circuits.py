"""The planted circuits, one function each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nissl.specimens.planted.builder import CONSTANT, FILLERS, SIZE, SWITCHES, WORDS, Builder
from nissl.specimens.planted.planted_circuit import PlantedCircuit, Variant, finish, make_pairs

__all__ = [
    "backup_head",
    "cancelling_paths",
    "induction",
    "previous_token",
    "saturated_gate",
    "two_hops",
]

Prompts = Iterator[tuple[list[str], ...]]
N_WORDS = len(WORDS)


def previous_token(variant: Variant = "planted", *, seed: int = 0) -> PlantedCircuit:
    """Return a head that attends to the previous token and says it.

    Parameters
    ----------
    variant : {"planted", "zeroed", "untrained"}
        With the circuit; the same with the circuit's weights zero; with random weights.
    seed : int
        Of the distractors.

    Returns
    -------
    PlantedCircuit
        Two blocks. In a pair the last token but one differs.

    Raises
    ------
    UnknownName
        There is no such variant.

    Examples
    --------
    >>> previous_token().pairs["text"].iloc[0]
    'near was by there there garden mountain key apple eagle of'
    """

    def prompts(random: np.random.Generator, words: list[str]) -> Prompts:
        while True:
            a, b, *others = random.permutation(words)
            before, last = others[:4], random.choice(FILLERS)
            yield [*before, a, last], [*before, b, last], [a, b]

    builder = Builder(2, seed=seed)
    space = builder.space
    says = builder.head(1, 2, value=space["word"], write=space["answer"])
    edges = ["embed -> blocks.1.attn.v[head 2]", f"{says} -> logits"]
    return finish(builder, make_pairs(prompts), variant, edges=edges)


def induction(variant: Variant = "planted", *, seed: int = 0) -> PlantedCircuit:
    """Return a head that tells each token the one before, and one that goes on as before.

    Parameters
    ----------
    variant, seed
        As in `previous_token`.

    Returns
    -------
    PlantedCircuit
        Two blocks. Of A B ... C D ... A the answer is B; corrupted, A and C of the text before
        trade places, so that it is D.

    Raises
    ------
    UnknownName
        There is no such variant.

    Examples
    --------
    >>> induction().pairs["text"].iloc[0]
    'there there by garden mountain of eagle island near was eagle'
    """

    def prompts(random: np.random.Generator, words: list[str]) -> Prompts:
        while True:
            a, b, c, d, *_ = random.permutation(words)
            f, g, h = random.choice(FILLERS, 3)
            two = [(a, b, c, d), (c, b, a, d)]
            if random.integers(2):
                two = [(w[2], w[3], w[0], w[1]) for w in two]
            clean, corrupted = ([p, q, f, r, s, g, h, a] for p, q, r, s in two)
            yield clean, corrupted, [b, d]

    builder = Builder(2, seed=seed)
    space = builder.space
    tells = builder.head(0, 1, value=space["word"], write=space["middle"])
    goes_on = builder.head(
        1,
        4,
        query=space["word"] / SIZE,
        key=space["middle"] / SIZE,
        strength=5.0,
        rest=2.0,
        value=space["word"],
        write=space["answer"],
    )
    edges = [
        "embed -> blocks.0.attn.v[head 1]",
        f"{tells} -> blocks.1.attn.k[head 4]",
        f"{goes_on} -> logits",
    ]
    return finish(builder, make_pairs(prompts), variant, edges=edges)


def two_hops(variant: Variant = "planted", *, seed: int = 0) -> PlantedCircuit:
    """Return an MLP that knows B of A, a head that moves B, and an MLP that knows C of B.

    Parameters
    ----------
    variant, seed
        As in `previous_token`.

    Returns
    -------
    PlantedCircuit
        Three blocks. In a pair the word A differs.

    Raises
    ------
    UnknownName
        There is no such variant.

    Examples
    --------
    >>> two_hops().pairs["text"].iloc[0]
    'was by there there by was was there there eagle near'
    """
    # Of each word the next but one of its half, then the next but two.
    first = (np.arange(N_WORDS) + 4) % N_WORDS
    second = (np.arange(N_WORDS) + 6) % N_WORDS
    both = second[first]

    def prompts(random: np.random.Generator, words: list[str]) -> Prompts:
        while True:
            a, b = random.permutation(words)[:2]
            behind = list(random.choice(FILLERS, random.integers(1, 6)))
            answers = [WORDS[both[WORDS.index(word)]] for word in (a, b)]
            yield [a, *behind], [b, *behind], answers

    builder = Builder(3, seed=seed)
    space = builder.space
    hop = builder.lookup(0, read=space["word"], write=space["middle"][:, first])
    moves = builder.head(
        1, 3, **_at_the_word(builder), value=space["middle"], write=space["middle"]
    )
    hops = builder.lookup(2, read=space["middle"], write=space["answer"][:, second])
    edges = [
        f"embed -> {hop}",
        f"{hop} -> blocks.1.attn.v[head 3]",
        f"{moves} -> {hops}",
        f"{hops} -> logits",
    ]
    return finish(builder, make_pairs(prompts), variant, edges=edges)


def saturated_gate(variant: Variant = "planted", *, seed: int = 0) -> PlantedCircuit:
    """Return a head that chooses one of two words so surely that its softmax has no gradient.

    Parameters
    ----------
    variant, seed
        As in `previous_token`.

    Returns
    -------
    PlantedCircuit
        Two blocks. A token says which of the two is asked for, and differs in a pair; a head moves
        it to the last token, where another chooses. What decides its query has an effect that
        gradients do not see.

    Raises
    ------
    UnknownName
        There is no such variant.

    Notes
    -----
    Source of the failure: Kramár et al. 2024, AtP*.

    Examples
    --------
    >>> saturated_gate().pairs["text"].iloc[0]
    'the of near was by mountain and key even and the'
    """
    even = np.arange(N_WORDS) // 2 % 2 == 0  # half of the words of each half

    def prompts(random: np.random.Generator, words: list[str]) -> Prompts:
        while True:
            both = [random.choice(words[::2]), random.choice(words[1::2])]
            order = both if random.integers(2) else both[::-1]
            f, *behind = random.choice(FILLERS, 3)
            which = random.permutation(2)
            clean, corrupted = ([order[0], f, order[1], SWITCHES[i], *behind] for i in which)
            yield clean, corrupted, [both[i] for i in which]

    builder = Builder(2, seed=seed)
    space = builder.space
    switch, moved = space["switch"] / SIZE, space["middle"][:, :2]
    moves = builder.head(
        0,
        5,
        query=space["constant"] / CONSTANT,
        key=switch.sum(1, keepdim=True),
        rest=2.0,
        value=space["switch"],
        write=moved,
    )
    kinds = [space["word"][:, which].sum(1, keepdim=True) / SIZE for which in (even, ~even)]
    chooses = builder.head(
        1,
        0,
        query=moved / SIZE,
        key=torch.cat(kinds, 1),
        strength=40.0,
        value=space["word"],
        write=space["answer"],
    )
    edges = [
        "embed -> blocks.0.attn.v[head 5]",
        f"{moves} -> blocks.1.attn.q[head 0]",
        f"{chooses} -> logits",
    ]
    return finish(builder, make_pairs(prompts), variant, edges=edges)


def cancelling_paths(variant: Variant = "planted", *, seed: int = 0) -> PlantedCircuit:
    """Return a head that says a word, and an MLP that takes half of it away, by slopes all of it.

    Parameters
    ----------
    variant, seed
        As in `previous_token`.

    Returns
    -------
    PlantedCircuit
        Three blocks. In a pair the word differs. By gradients what the head adds to the logits
        directly and what it takes away through the MLP cancel, in the clean run as in the corrupted
        one; in truth half of it is left.

    Raises
    ------
    UnknownName
        There is no such variant.

    Notes
    -----
    Source of the failure: Kramár et al. 2024, AtP*, which GradDrop finds.

    Examples
    --------
    >>> cancelling_paths().pairs["text"].iloc[0]
    'was by there there by was was there there eagle near'
    """
    builder = Builder(3, seed=seed)
    says = _says_the_word(builder, 1, 1)
    takes = builder.steps(2, read=builder.space["answer"])
    edges = [
        "embed -> blocks.1.attn.v[head 1]",
        f"{says} -> {takes}",
        f"{says} -> logits",
        f"{takes} -> logits",
    ]
    return finish(builder, make_pairs(_one_word), variant, edges=edges)


def backup_head(variant: Variant = "planted", *, seed: int = 0) -> PlantedCircuit:
    """Return a head that says a word, and one that says it if nothing has been said.

    Parameters
    ----------
    variant, seed
        As in `previous_token`.

    Returns
    -------
    PlantedCircuit
        Three blocks. In a pair the word differs. The backup rests while any word is answered; where
        the first head is set to zero, it says the word.

    Raises
    ------
    UnknownName
        There is no such variant.

    Examples
    --------
    >>> backup_head().pairs["text"].iloc[0]
    'was by there there by was was there there eagle near'
    """
    builder = Builder(3, seed=seed)
    space = builder.space
    says = _says_the_word(builder, 0, 2)
    said = space["answer"].sum(1, keepdim=True) / SIZE
    backup = _says_the_word(builder, 2, 4, unless=said)
    edges = ["embed -> blocks.0.attn.v[head 2]", f"{says} -> logits"]
    return finish(builder, make_pairs(_one_word), variant, edges=edges, backups=[backup])


def _one_word(random: np.random.Generator, words: list[str]) -> Prompts:
    """Yield prompts with one word, which is to be said."""
    while True:
        a, b = random.permutation(words)[:2]
        behind = list(random.choice(FILLERS, random.integers(1, 6)))
        yield [a, *behind], [b, *behind], [a, b]


def _at_the_word(builder: Builder, unless: Tensor | float = 0.0) -> dict[str, Any]:
    """Return how a head attends to a word from anywhere, unless a direction is present."""
    constant, word = builder.space["constant"], builder.space["word"]
    query = constant / CONSTANT - 2.0 * unless
    return {"query": query, "key": word.sum(1, keepdim=True) / SIZE, "rest": 2.0}


def _says_the_word(builder: Builder, layer: int, head: int, unless: Tensor | float = 0.0) -> str:
    where, space = _at_the_word(builder, unless), builder.space
    return builder.head(layer, head, **where, value=space["word"], write=space["answer"])
