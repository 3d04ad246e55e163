"""What a live model says with units changed by hand, and without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError, require_known
from nissl.web.reading import ids_of

if TYPE_CHECKING:
    from nissl.network import Change, Network
    from nissl.web.live import Say

__all__ = ["edits_of", "touch"]

MANY = 100  # edits of one question
LARGEST = 1e30  # value: beyond it an activity overflows
HOW = ("ablate", "clamp", "scale")


def touch(net: Network, say: Say, prompt: str, edits: Sequence[Any], n: int) -> None:
    """Generate without edits, and then with them.

    One after the other, not as two rows of a batch, whose sums another order may round otherwise:
    what is said is to the letter what ``net.generate`` says.

    Parameters
    ----------
    net : Network
        A language model.
    say : callable
        Is given ``{"without": text}`` and ``{"with": text}``, the whole text after each token.
    prompt : str
        What is continued.
    edits : sequence of Edit
        Nothing is generated with them where there are none.
    n : int
        Tokens at most.

    Raises
    ------
    NisslError
        The prompt is too long, the model does not generate, or a unit cannot be edited.
    """
    ids_of(net, prompt)
    with net.edit(*edits):
        pass  # what cannot be edited is said before anything is generated
    sides: list[tuple[str, Sequence[Any]]] = [("without", ()), ("with", edits)]
    for side, some in sides if edits else sides[:1]:
        with net.edit(*some):
            text = net.generate(prompt, max_new_tokens=n, streamer=_Streamer(net, say, side))
        say({side: text})


class _Streamer:
    """What ``generate`` of transformers hands tokens to: first those of the prompt."""

    def __init__(self, net: Network, say: Say, side: str) -> None:
        self.tokenizer, self.say, self.side = net.require_tokenizer(), say, side
        self.ids: list[int] = []
        self.begun = False

    def put(self, ids: Any) -> None:
        """Take the next tokens."""
        if self.begun:
            self.ids += ids.flatten().tolist()
            self.say({self.side: self.tokenizer.decode(self.ids, skip_special_tokens=True)})
        self.begun = True

    def end(self) -> None:
        """Take the end."""


def edits_of(given: Any) -> list[Change]:
    """Make edits of what a page or a file says.

    Parameters
    ----------
    given : list of dict
        Each with ``unit``, an address; ``how``, of ablate, clamp and scale; and ``value``, what it
        is held at or multiplied by.

    Returns
    -------
    list of Change
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
    from nissl.network import ablate, clamp, scale

    if not isinstance(given, list) or len(given) > MANY:
        raise NisslError(f"edits are a list of at most {MANY}")
    made = []
    for one in given:
        unit, how, value = (
            one.get(name) if isinstance(one, dict) else None for name in ("unit", "how", "value")
        )
        if not isinstance(unit, str) or not unit.strip():
            raise NisslError("an edit names no unit", where=str(one)[:100])
        require_known("edit", str(how), HOW)
        if how == "ablate":
            made.append(ablate(unit))
            continue
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not abs(value) < LARGEST
        ):
            raise NisslError(f"{str(value)[:40]} is no number", where=unit)
        made.append(clamp(unit, to=value) if how == "clamp" else scale(unit, by=value))
    return made
