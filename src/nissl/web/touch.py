"""What a live model says with units changed by hand, and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nissl.behaviour.edit_divergences import edit_divergences
from nissl.behaviour.matched_edits import matched_by, matched_edits
from nissl.errors import NisslError, require_known
from nissl.web.reading import ids_of, six

if TYPE_CHECKING:
    from nissl.network import Network
    from nissl.web.live import Say
    from nissl.web.saved import SavedEdits

__all__ = ["Asked", "edits_of", "encoder_of", "touch"]

MANY = 100  # edits of one question
LARGEST = 1e30  # value: beyond it an activity overflows
HOW = ("ablate", "clamp", "scale", "strength")
DRAWS, COMPARED = 19, 64  # random edits; tokens over which they are compared


@dataclass(frozen=True)
class Asked:
    """What is to be generated.

    Parameters
    ----------
    prompt : str
        What is continued.
    edits : sequence of Edit
        Nothing is generated with them where there are none.
    n : int
        Tokens at most.
    seed : int or None
        Of the random edits beside them; None for no random edits.
    """

    prompt: str
    edits: Sequence[Any]
    n: int
    seed: int | None = None


def touch(net: Network, say: Say, asked: Asked) -> None:
    """Generate without edits, with them, and with random edits matched to them; and compare.

    One after the other, not as rows of a batch, whose sums another order may round otherwise: what
    is said is to the letter what ``net.generate`` says.

    Parameters
    ----------
    net : Network
        A language model.
    say : callable
        Is given ``{"without": text}``, ``{"with": text}`` and ``{"random": text, "which": units}``,
        the whole text after each token; ``{"compared": n}``, how many edits were compared;
        and ``{"effect": ...}``, as `_effect` returns it, or ``{"unmatched": why}``.
    asked : Asked
        What is wanted.

    Raises
    ------
    NisslError
        The prompt is too long, the model does not generate, or a unit cannot be edited.
    """
    ids_of(net, asked.prompt)
    with net.edit(*asked.edits):
        pass  # what cannot be edited is said before anything is generated
    before = _said(net, say, "without", asked, ())
    if not asked.edits:
        return
    _said(net, say, "with", asked, asked.edits)
    if asked.seed is None or encoder_of(net):
        return
    prompt, new = before.prompt, before.ids[:COMPARED]
    try:
        read = [*prompt, *new]
        draws = matched_edits(net, asked.edits, read, n=DRAWS, seed=asked.seed)
    except NisslError as error:
        say({"unmatched": error.what if error.where is None else f"{error.what}: {error.where}"})
        return
    which = [unit for edit in draws[0] for unit in edit.units.named() or ["a random direction"]]
    say({"which": which})
    _said(net, say, "random", asked, draws[0])
    every = [list(asked.edits), *draws]
    moved = edit_divergences(net, every, prompt, new, tell=lambda done: say({"compared": done}))
    say({"effect": _effect(moved) | {"against": matched_by(net, asked.edits)}})


def _said(net: Network, say: Say, side: str, asked: Asked, edits: Sequence[Any]) -> _Streamer:
    """Generate under edits, and return what was read and said."""
    streamer = _Streamer(net, say, side)
    with net.edit(*edits):
        text = net.generate(asked.prompt, max_new_tokens=asked.n, streamer=streamer)
    say({side: text})
    return streamer


def _effect(moved: Any) -> dict[str, Any]:
    """Return how far the edits and the random ones move what is said next.

    ``end``, at the prompt's end, and ``mean``, over ``n_tokens``, each hold ``own`` and ``random``,
    divergences in nats, and ``p``: which share of all of these is at least as large as their own.
    """
    found: dict[str, Any] = {"n_tokens": moved.shape[1]}
    for name, values in {"end": moved[:, 0], "mean": moved.mean(1)}.items():
        own, random = values[0], values[1:]
        p = (1 + int((random >= own).sum())) / len(values)
        told = {"own": six(own), "random": [six(x) for x in random.tolist()], "p": six(p)}
        found[name] = told
    return found


def encoder_of(net: Network) -> bool:
    """Return whether a network has an encoder of its own, whose tokens are not gone on from.

    Parameters
    ----------
    net : Network
        The network.

    Returns
    -------
    bool
        As its model is built.
    """
    from nissl.network.sites.batch import encoder_path

    return encoder_path(net.model) is not None


class _Streamer:
    """What ``generate`` of transformers hands tokens to: first those of the prompt."""

    def __init__(self, net: Network, say: Say, side: str) -> None:
        self.tokenizer, self.say, self.side = net.require_tokenizer(), say, side
        self.prompt: list[int] = []
        self.ids: list[int] = []

    def put(self, ids: Any) -> None:
        """Take the next tokens."""
        if not self.prompt:
            self.prompt = ids.flatten().tolist()
            return
        self.ids += ids.flatten().tolist()
        self.say({self.side: self.tokenizer.decode(self.ids, skip_special_tokens=True)})

    def end(self) -> None:
        """Take the end."""


def edits_of(given: Any, saved: SavedEdits | None = None) -> list[Any]:
    """Make edits of what a page or a file says.

    Parameters
    ----------
    given : list of dict
        Each with ``unit``, an address, or several with ", " between; ``how``, of ablate, clamp and
        scale; and ``value``, what they are held at or multiplied by. With ``how`` strength,
        ``unit`` is the name of a saved edit.
    saved : SavedEdits, optional
        Where such are.

    Returns
    -------
    list of Edit
        In their order.

    Raises
    ------
    NisslError
        They are not understood.

    Examples
    --------
    >>> edits_of([{"unit": "blocks.3.mlp.neurons[812]", "how": "clamp", "value": 10}])
    [clamp(blocks.3.mlp.neurons)]
    """
    if not isinstance(given, list) or len(given) > MANY:
        raise NisslError(f"edits are a list of at most {MANY}")
    return [edit for one in given for edit in _edits(one, saved)]


def _edits(one: Any, saved: SavedEdits | None) -> list[Any]:
    from nissl.network import ablate, clamp, scale

    unit, how, value = (
        one.get(name) if isinstance(one, dict) else None for name in ("unit", "how", "value")
    )
    if not isinstance(unit, str) or not unit.strip():
        raise NisslError("an edit names no unit", where=str(one)[:100])
    require_known("edit", str(how), HOW)
    units: Any = unit.split(", ") if ", " in unit else unit
    if how == "ablate":
        return [ablate(units)]
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < LARGEST:
        raise NisslError(f"{str(value)[:40]} is no number", where=unit)
    if how == "strength":
        if saved is None:
            raise NisslError("there are no saved edits here", where=unit)
        return saved.open(unit, value)
    return [clamp(units, to=value) if how == "clamp" else scale(units, by=value)]
