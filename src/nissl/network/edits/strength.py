"""An edit of another strength: half of what it does, twice, or the opposite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nissl.errors import NisslError
from nissl.network.edits.edit import Change, Rule
from nissl.network.edits.learned import Learned, LearnedEdit
from nissl.network.edits.rules import Added, Partly
from nissl.network.edits.values import PerUnit, as_tensor

__all__ = ["with_strength"]


def with_strength(edit: Any, strength: float) -> Any:
    """Return an edit that changes activity by a multiple of what another changes it by.

    Parameters
    ----------
    edit : Edit, LearnedEdit, or list of them
        What `ablate`, `clamp`, `scale`, `add` and `project` make, or what was learned.
    strength : float
        1 is the edit itself, 0 changes nothing, 0.5 goes half of the way, -1 goes the other way.

    Returns
    -------
    Edit, or list of them
        It can be saved where the given one can.

    Raises
    ------
    NisslError
        The edit does more than put new values at units: a patch, a gate, a change of weights.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from nissl.network import Network, ablate
    >>> net = Network(nn.Sequential(nn.Identity()))
    >>> with net.edit(with_strength(ablate(sites="0"), 0.25)):
    ...     net.model(torch.tensor([[4.0, 8.0]])).tolist()
    [[3.0, 6.0]]
    """
    if isinstance(edit, (list, tuple)):
        return [with_strength(one, strength) for one in edit]
    rule: Rule
    if type(edit) is Change:
        rule, name = edit.rule, edit.name
    elif isinstance(edit, LearnedEdit):
        rule, name = Learned(edit.change), "learned"
    else:
        raise NisslError(
            f"{edit!r:.60} has no strength", do="give what puts new values at units alone"
        )
    if strength == 1:
        return edit
    return Change(edit.units, edit.places, _times(rule, strength), name)


def _times(rule: Rule, strength: float) -> Rule:
    # What is added is multiplied: the sum would be rounded otherwise.
    if isinstance(rule, Added):
        given = rule.by.given
        if isinstance(given, Mapping):
            return Added(PerUnit({name: as_tensor(x) * strength for name, x in given.items()}))
        return Added(PerUnit(as_tensor(given) * strength))
    return Partly(rule, strength)
