"""Changes of weights, undone by putting the saved tensor back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nissl.errors import NisslError, UnknownName

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["WeightEdit", "keep_weights"]


@dataclass(frozen=True)
class WeightEdit:
    """A change of one parameter for the length of ``with net.edit(...)``.

    Parameters
    ----------
    parameter : str
        Its name in the model: ``model.layers.5.mlp.down_proj.weight``.
    change : callable or Tensor
        Given the parameter, returns what takes its place; or that tensor itself. Of the shape of
        the parameter. A tensor that several modules share changes in all of them.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> net = Network(nn.Linear(1, 1, bias=False))
    >>> with net.edit(WeightEdit("weight", lambda w: torch.full_like(w, 3.0))):
    ...     net.model(torch.ones(1, 1)).item()
    3.0
    """

    parameter: str
    change: Callable[[Tensor], Tensor] | Tensor

    @contextmanager
    def applied(self, net: BaseNetwork) -> Iterator[None]:
        """Change the parameter inside the block.

        Parameters
        ----------
        net : Network
            The network.

        Yields
        ------
        None
            The parameter is changed.

        Raises
        ------
        NisslError
            The change has another shape, or the parameter is not in memory (``device_map``).
        UnknownName
            There is no such parameter.
        """
        # Shared parameters have several names.
        named = dict(net.model.named_parameters(remove_duplicate=False))
        if self.parameter not in named:
            raise UnknownName("parameter", self.parameter, named)
        parameter = named[self.parameter]
        if parameter.device.type == "meta":
            raise NisslError(
                "the parameter is kept on disk or in another memory, so it cannot be changed",
                where=self.parameter,
                do="load the model without offloading",
            )
        with torch.no_grad():
            saved = parameter.detach().clone()
            new = self.change(saved.clone()) if callable(self.change) else self.change
            if new.shape != saved.shape:
                raise NisslError(
                    f"the change has shape {tuple(new.shape)}, the parameter {tuple(saved.shape)}",
                    where=self.parameter,
                )
        # Blocks may be left in another order than they were entered: what the one below found is
        # then what the one above puts back.
        above: list[tuple[WeightEdit, list[Tensor]]]
        above = net.changed_weights.setdefault(id(parameter), [])
        mine = (self, [saved])
        above.append(mine)
        try:
            with torch.no_grad():
                parameter.copy_(new)
            yield
        finally:
            place = next(i for i, other in enumerate(above) if other is mine)
            del above[place]
            with torch.no_grad():
                parameter.copy_(mine[1][0])
                for edit, kept in above[place:]:
                    kept[0] = parameter.detach().clone()
                    change = edit.change
                    parameter.copy_(change(kept[0].clone()) if callable(change) else change)


def keep_weights(mask: Mapping[str, Tensor], *, others: bool = False) -> list[WeightEdit]:
    """Set all weights to zero but those that a mask keeps.

    Parameters
    ----------
    mask : mapping of str to Tensor of bool
        By parameter; what is not named stays as it is.
    others : bool
        Set these to zero instead, and keep the others.

    Returns
    -------
    list of WeightEdit
        For ``net.edit``.
    """
    return [WeightEdit(name, _times(m != others)) for name, m in mask.items()]


def _times(mask: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda weight: weight * mask.to(weight)
