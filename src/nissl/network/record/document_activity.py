"""What every neuron did in each document: how often it was open, and how much it wrote.

One pass over the text, of which one row a document is kept. Documents are what a null exchanges,
and language, subject or author is a label of documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.network.record.recorder import stream
from nissl.network.record.recording_of import recording_of
from nissl.network.run.plan import plan_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nissl.network.sites.base import BaseNetwork
    from nissl.recording import Chunk, Recording

__all__ = ["document_activity"]

Array = NDArray[Any]
NEURONS, GATE = "mlp.neurons", "mlp.gate"


def document_activity(
    net: BaseNetwork,
    texts: Any,
    *,
    sites: str | Iterable[str] = NEURONS,
    window: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> dict[str, Recording]:
    """Read documents once, and summarise each unit's activity in each.

    Parameters
    ----------
    net : Network
        A network that reads text.
    texts : DataFrame, texts, or token ids
        Documents; columns other than ``text`` become labels.
    sites : str or iterable of str
        Sites whose output weights are known: those of MLP neurons.
    window : int, optional
        Tokens of a window of a long document, as in `nissl.record`.
    batch_size : int, optional
        Windows in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    dict of str to Recording, each of shape (n_documents, n_units)
        ``open``: share of tokens at which the unit's nonlinearity is open, which is where its gate
        is above zero, or its activity where it has none. ``size``: mean absolute activity.
        ``impact``: the Euclidean norm, over the document's tokens, of the change in the layer's
        output when the unit is deactivated, as a share of the norm of that output. Samples carry
        ``document``, ``n_tokens`` and the labels.

    Raises
    ------
    NisslError
        A site's output weights are not known, the inputs are no texts, or a document has no token
        but its first.

    Notes
    -----
    The first place of a window is left out: activity there stands for itself. A unit's output is
    its activity times its output weights, so that the change of a deactivation is the norm of the
    one times that of the other, for all units at once (Zhao et al. 2024, section 2.2). It is
    the output before any norm that follows.

    Examples
    --------
    >>> document_activity(net, texts)["open"]  # doctest: +SKIP
    """
    written = [site.name for site in net.find(sites)]
    weights = {name: net.output_weights(name).float().cpu().numpy() for name in written}
    gates = _gates(net, written)
    plan = plan_of(net, texts, batch_size=batch_size, window=window).text("documents")
    windows = plan.windows
    n_documents = int(windows.document.max()) + 1
    sums = {name: _Sums(n_documents, len(weights[name])) for name in written}
    of_gate = {gate: name for name, gate in gates.items()}

    def consume(chunk: Chunk) -> None:
        rows = np.flatnonzero(np.asarray(chunk.samples["position"]) > 0)
        values, document = chunk.values[rows], np.asarray(chunk.samples["document"])[rows]
        if chunk.site in of_gate:
            sums[of_gate[chunk.site]].add_open(values, document)
            return
        sums[chunk.site].add(values, document, weights[chunk.site])
        if chunk.site not in gates:
            sums[chunk.site].add_open(values, document)

    stream(net, plan, sites=[*written, *of_gate], consume=consume, progress=progress)
    n_tokens = sums[written[0]].n_tokens
    if not n_tokens.all():
        raise NisslError(
            "a document has no token but its first",
            where=f"document {int(np.argmin(n_tokens))}",
            do="leave it out, or join it to another",
        )
    samples = {"document": np.arange(n_documents), "n_tokens": n_tokens, **windows.labels}
    made = {name: sums[name].result(weights[name]) for name in written}
    about = {"network": net.name, "weights": net.weights_hash}
    return {
        key: recording_of(
            net,
            {name: one[key] for name, one in made.items()},
            samples=samples,
            quantity=key,
            attrs=about,
        )
        for key in ("open", "size", "impact")
    }


class _Sums:
    """Sums over the tokens of each document, for the units of one site."""

    def __init__(self, n_documents: int, n_units: int):
        self.n_tokens = np.zeros(n_documents, dtype=np.int64)
        self.opened = np.zeros((n_documents, n_units), dtype=np.int64)
        self.absolute = np.zeros((n_documents, n_units))
        self.squares = np.zeros((n_documents, n_units))
        self.output = np.zeros(n_documents)

    def add_open(self, values: Array, document: Array) -> None:
        for number, rows in _by_document(document):
            self.opened[number] += (values[rows] > 0).sum(axis=0)

    def add(self, values: Array, document: Array, weights: Array) -> None:
        written = np.square(values @ weights).sum(axis=1, dtype=float)
        for number, rows in _by_document(document):
            self.n_tokens[number] += rows.stop - rows.start
            self.absolute[number] += np.abs(values[rows]).sum(axis=0)
            self.squares[number] += np.square(values[rows]).sum(axis=0)
            self.output[number] += written[rows].sum()

    def result(self, weights: Array) -> dict[str, Array]:
        tokens = np.maximum(self.n_tokens, 1)[:, None]
        impact = np.sqrt(self.squares) * np.linalg.norm(weights, axis=1)
        norm = np.sqrt(self.output)[:, None]
        return {
            "open": self.opened / tokens,
            "size": self.absolute / tokens,
            "impact": np.divide(impact, norm, out=np.zeros_like(impact), where=norm > 0),
        }


def _by_document(document: Array) -> list[tuple[int, slice]]:
    """Return the runs of rows of one document."""
    if not len(document):
        return []
    starts = np.flatnonzero(np.diff(document, prepend=document[0] - 1))
    stops = np.append(starts[1:], len(document))
    return [(int(document[a]), slice(int(a), int(b))) for a, b in zip(starts, stops, strict=True)]


def _gates(net: BaseNetwork, sites: list[str]) -> dict[str, str]:
    """Return the site of the gate of each site of gated neurons."""
    known = set(net.sites()["site"])
    gates = {name: name.removesuffix(NEURONS) + GATE for name in sites if name.endswith(NEURONS)}
    return {name: gate for name, gate in gates.items() if gate in known}
