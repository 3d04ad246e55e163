"""Beyond which activity a unit counts as active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from nissl.network.sites.weights import dictionary_of, output_weights_of

if TYPE_CHECKING:
    from nissl.network.run.plan import TextPlan
    from nissl.network.sites.base import BaseNetwork
    from nissl.recording.chunks import Chunk

__all__ = ["SHARE", "active_above"]

SHARE = 0.01  # of the layer's output
WINDOWS, LENGTH = 4, 256  # windows spread over the text, and tokens of each, that are measured

Array = NDArray[Any]


def active_above(
    net: BaseNetwork, sites: list[str], plan: TextPlan, *, share: float = SHARE
) -> dict[str, tuple[Array, Array]]:
    """Return for each site the activity above and below which each unit counts as active.

    Where the nonlinearity is a ReLU that is zero. Elsewhere a unit is active where its activity
    times the norm of its output weights exceeds a share of the median, over tokens, of the norm of
    the layer's output (``neurons @ output weights``), measured on four windows spread over the
    text, their first positions left out. A few tokens may raise a layer's output a thousandfold: of
    a mean square they would be nearly all.

    Parameters
    ----------
    net : Network
        The network.
    sites : list of str
        Full names.
    plan : TextPlan
        The text.
    share : float
        Of the layer's output.

    Returns
    -------
    dict of str to (array, array), each of shape (n_units,)
        For sites with output weights; the others are active above zero.
    """
    # Features of a dictionary are open above zero; what they come from is not their measure.
    plain = [site for site in sites if dictionary_of(net, site) is None]
    weights = {site: w for site in plain if (w := output_weights_of(net, site)) is not None}
    if not weights or _is_relu(net):
        return {}
    from nissl.network.record.recorder import stream

    norms: dict[str, list[Array]] = {site: [] for site in weights}

    def consume(chunk: Chunk) -> None:
        write = weights[chunk.site].cpu().numpy()
        out = chunk.values[chunk.samples["position"] > 0] @ write
        norms[chunk.site].append(np.sqrt(np.einsum("ru,ru->r", out, out, dtype=np.float64)))

    stream(net, plan.spread(WINDOWS, LENGTH), sites=list(weights), consume=consume, progress=False)
    thresholds = {}
    for site, write in weights.items():
        measured = np.concatenate(norms[site])
        level = share * float(np.median(measured)) if len(measured) else 0.0
        norm = torch.linalg.vector_norm(write, dim=1).cpu().numpy().astype(float)
        # A unit that writes nothing is never active, whatever its activity.
        above = np.divide(level, norm, out=np.full(len(norm), np.inf), where=norm > 0)
        thresholds[site] = (above, -above)
    return thresholds


def _is_relu(net: BaseNetwork) -> bool:
    config: Any = getattr(net.model, "config", None)
    names = ("hidden_act", "hidden_activation", "activation_function")
    name = next((n for a in names if (n := getattr(config, a, None))), "")
    return "relu" in str(name).lower()
