"""What the heads of a live model attend to on a text: one in full, all of them in small."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError
from nissl.web.reading import ids_of, six

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network import Network

__all__ = ["Heads", "attention"]

PATTERNS = "blocks.*.attn.pattern"
SIDE, BYTES = 24, 300_000  # of the small picture of a pattern; of all of them


def attention(net: Network, text: str, *, layer: int, head: int) -> dict[str, Any]:
    """Return what one head attends to.

    Parameters
    ----------
    net : Network
        The model.
    text : str
        At most 512 tokens.
    layer, head : int
        Which.

    Returns
    -------
    dict
        ``tokens``, and ``pattern``: a row for each that attends, a column for each attended to.

    Raises
    ------
    NisslError
        The text is too long, or there is no such head.
    """
    ids, site = ids_of(net, text), f"blocks.{layer}.attn.pattern"
    pattern = net.run([ids], sites=site)[site][0]  # of each position, head and position read
    if not 0 <= head < pattern.shape[1]:
        raise NisslError(f"there is no head {head}", do=f"give 0 to {pattern.shape[1] - 1}")
    rows = pattern[:, head].float().cpu().numpy().round(4)
    return {"tokens": net.tokens(ids), "pattern": rows.tolist()}


class Heads:
    """What every head attends to, in small; what was read last is kept.

    Examples
    --------
    >>> Heads()(net, "The capital of France")["layers"][5]["most"]  # doctest: +SKIP
    [0, 0, 3, 0, 0, 0, 2, 0, 0]
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.layers: list[dict[str, Any]] = []

    def __call__(self, net: Network, text: str, *, position: int = -1) -> dict[str, Any]:
        """Look at every head.

        Parameters
        ----------
        net : Network
            The model.
        text : str
            At most 512 tokens.
        position : int
            The token whose attention is told in figures.

        Returns
        -------
        dict
            ``side``, and ``layers``: of each, ``layer``; ``pictures``, the patterns of its heads
            one after the other, ``side`` rows of ``side`` bytes each, 255 for all attention, as
            base64; and for each head ``most``, the position that the token attends to most,
            ``weight``, how much of its attention that is, and ``bits``, the entropy of its
            attention.

        Raises
        ------
        NisslError
            The text is too long, or the model has no attention patterns.
        """
        ids = ids_of(net, text)
        if not -len(ids) <= position < len(ids):
            raise NisslError(f"there is no token {position}", do=f"give 0 to {len(ids) - 1}")
        if self.ids != ids:
            self.layers, self.ids = _read(net, ids), ids
        told = [
            {
                "layer": layer["layer"],
                "pictures": layer["pictures"],
                "most": layer["most"][position].tolist(),
                "weight": [six(x) for x in layer["weight"][position].tolist()],
                "bits": [six(x) for x in layer["bits"][position].tolist()],
            }
            for layer in self.layers
        ]
        return {"side": self.layers[0]["side"], "layers": told}


def _read(net: Network, ids: list[int]) -> list[dict[str, Any]]:
    """Run once and keep of every pattern its picture and its figures, not the pattern."""
    sites = net.find(PATTERNS)
    found: dict[str, dict[str, Any]] = {}

    class Watch:
        reads, writes = tuple(site.name for site in sites), ()

        def begin(self, batch: Any) -> None: ...

        def apply(self, site: str, x: Tensor, positions: Any, phase: Any) -> None:
            side = min(len(ids), SIDE, math.isqrt(BYTES // (len(sites) * x.shape[2])))
            found[site] = _small(x[0].float(), max(side, 4))

    with net.edit(Watch()):
        net.run([ids], sites=sites[-1].name)
    return [{"layer": site.layer, **found[site.name]} for site in sites]


def _small(pattern: Tensor, side: int) -> dict[str, Any]:
    """Return the picture and the figures of a pattern (position, head, position read)."""
    import torch

    each = pattern.transpose(0, 1)
    small = torch.nn.functional.adaptive_max_pool2d(each, (side, side))
    data = (255 * small).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    weight, most = pattern.max(-1)
    bits = torch.special.entr(pattern).sum(-1) / math.log(2)
    figures = {"weight": weight, "bits": bits}
    return {
        "side": side,
        "pictures": base64.b64encode(data.tobytes()).decode(),
        "most": most.cpu().numpy(),
        **{name: x.cpu().numpy() for name, x in figures.items()},
    }
