"""What a unit's weights say: how it reads and writes, and which tokens it promotes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from nissl.network.sites.weights import asked, folded_unembedding, folded_weights, output_weights_of

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network import Network

__all__ = ["PromotedTokens", "weight_columns"]

Array = NDArray[Any]
PART = 256  # units whose logits are computed together


def weight_columns(net: Network, site: str, n_units: int) -> dict[str, Array]:
    """Return norms and cosines of each unit's weights, and the class of gated neurons.

    Parameters
    ----------
    net : Network
        The network.
    site : str
        Full name of a site.
    n_units : int
        Its units.

    Returns
    -------
    dict of arrays, each of shape (n_units,)
        ``output_norm``, ``cos_in_out``, ``cos_gate_out``, ``cos_in_gate``; NaN where the site has
        no such weights. ``gated_class`` (`nissl.selectivity.gated_classes`), of the same cosines
        with the norm before the MLP folded in; empty where there is no gate.
    """
    write = output_weights_of(net, site)
    read, gate = asked(net.input_weights, site), asked(net.gate_weights, site)

    def cosine(a: Tensor | None, b: Tensor | None) -> Array:
        if a is None or b is None or a.shape != b.shape:
            return np.full(n_units, np.nan)
        found: Array = torch.nn.functional.cosine_similarity(a, b, dim=1).cpu().numpy()
        return found

    gated = np.full(n_units, "", dtype=object)
    if gate is not None and read is not None and write is not None:
        from nissl.selectivity.gated_classes import gated_classes

        folded = folded_weights(net, site, after=False)
        gated[:] = gated_classes(
            cosine(folded.read, folded.write),
            cosine(folded.gate, folded.write),
            cosine(folded.gate, folded.read),
        )
    norm = np.full(n_units, np.nan) if write is None else write.norm(dim=1).cpu().numpy()
    return {
        "output_norm": norm,
        "cos_in_out": cosine(read, write),
        "cos_gate_out": cosine(gate, write),
        "cos_in_gate": cosine(read, gate),
        "gated_class": gated,
    }


class PromotedTokens:
    """Which tokens the units of a site promote and suppress, read through the unembedding.

    A unit's output weights are multiplied by the scale of the final norm and by the unembedding
    (the logit lens on weights; Geva et al. 2022). The norm's division, and for a norm that
    subtracts a mean that mean, depend on the rest of the stream: the division is left out, the mean
    is taken off.

    Parameters
    ----------
    net : Network
        A language model.
    n : int
        Tokens at each end.
    text : callable
        Turns a token id into text.
    """

    def __init__(self, net: Network, *, n: int, text: Callable[[int], str]):
        self.n = n
        self.text = text
        self.vectors: Array | None = None
        unembedding = folded_unembedding(net)
        if unembedding is not None:
            self.vectors = unembedding.T.contiguous().cpu().numpy()

    def columns(self, write: Tensor | None, n_units: int) -> dict[str, list[Any]]:
        """Return the columns of a site.

        Parameters
        ----------
        write : Tensor or None, shape (n_units, d_model)
            The output weights.
        n_units : int
            Units of the site.

        Returns
        -------
        dict of lists, each of length n_units
            ``promoted``, ``promoted_logit``, ``suppressed``, ``suppressed_logit``.
        """
        names = ("promoted", "promoted_logit", "suppressed", "suppressed_logit")
        if write is None or self.vectors is None or write.shape[1] != len(self.vectors):
            return {name: [[] for _ in range(n_units)] for name in names}
        from nissl.atlas._largest_kernel import largest

        rows = write.cpu().numpy()
        # One buffer for all parts: fresh memory for every product costs as much as the product.
        buffer = np.empty((min(PART, n_units), self.vectors.shape[1]), np.float32)
        found: dict[str, list[Any]] = {name: [] for name in names}
        for first in range(0, n_units, PART):
            part = rows[first : first + PART]
            logits = np.matmul(part, self.vectors, out=buffer[: len(part)])
            for sign, name in ((1, "promoted"), (-1, "suppressed")):
                ids, values = largest(logits, self.n, sign)
                found[name] += [[self.text(int(i)) for i in row] for row in ids]
                found[f"{name}_logit"] += values.tolist()
        return found
