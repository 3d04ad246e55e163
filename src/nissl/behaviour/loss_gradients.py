"""The gradient of a language model's loss at every token of a site, as a Recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError
from nissl.network.gradients import gradients
from nissl.network.record.site_samples import unit_columns
from nissl.network.run.windows import windows_of
from nissl.progress import progress_bar
from nissl.recording import as_recording

if TYPE_CHECKING:
    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["loss_gradients"]


def loss_gradients(
    net: Network,
    texts: Any,
    *,
    site: str,
    window: int | None = None,
    batch_size: int = 8,
    progress: bool = True,
) -> Recording:
    """Differentiate the loss of each window with respect to a site, at every token.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    texts : texts or token ids
        What it predicts.
    site : str
        One site.
    window : int, optional
        Tokens of a window of a long text, as in `nissl.record`: the samples are then those of the
        same recording.
    batch_size : int
        Windows in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Recording, shape (n_tokens, n_units), float32
        Derivatives of the summed cross entropy of the window's tokens, in nats; the sample
        coordinates are ``document`` and ``token``.

    Raises
    ------
    NisslError
        The name is of several sites.

    Examples
    --------
    >>> loss_gradients(net, texts, site="blocks.15.resid_post")  # doctest: +SKIP
    """
    if len(net.find(site)) > 1:
        raise NisslError(f"'{site}' is {len(net.find(site))} sites", do="name one, with its block")
    where, windows = net.find(site)[0], windows_of(net, texts, window=window)
    rows: list[np.ndarray[Any, Any]] = []
    title = f"Gradients at {where.name}"
    with progress_bar(title, total=len(windows.ids), unit="windows", progress=progress) as advance:
        for start in range(0, len(windows.ids), batch_size):
            ids = windows.ids[start : start + batch_size]
            given = [row.tolist() for row in ids]
            found = gradients(net, given, sites=where.name, metric=_summed_loss(ids))[where.name]
            for number, row in enumerate(ids, start):
                new = slice(int(windows.skip[number]), len(row) - int(windows.tail[number]))
                rows.append(found[number - start, new].float().cpu().numpy())
            advance(len(ids))
    kept = [
        row[skip : len(row) - tail]
        for row, skip, tail in zip(windows.ids, windows.skip, windows.tail, strict=True)
    ]
    samples = {
        "document": np.repeat(windows.document, [len(row) for row in kept]),
        "token": np.concatenate(kept),
    }
    units = unit_columns(where, rows[0].shape[1])
    return as_recording(np.concatenate(rows), samples=samples, units=units, quantity="gradient")


def _summed_loss(ids: list[np.ndarray[Any, Any]]) -> Any:
    """Return the metric: cross entropy of every next token, added up; padding has none."""

    def metric(logits: Tensor) -> Tensor:
        target = torch.full(logits.shape[:2], -100, device=logits.device)
        for number, row in enumerate(ids):
            target[number, : len(row) - 1] = torch.as_tensor(row[1:])
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), target.flatten(), reduction="sum"
        )

    return metric
