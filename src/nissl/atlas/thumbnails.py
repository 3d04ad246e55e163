"""Small pictures of what a network read, as files beside its page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network import Network, Plan
    from nissl.network.run.calls import Call

__all__ = ["FOLDER", "pictures_of", "write_thumbnails"]

FOLDER = "images"
LARGEST = 112  # pixels of the longer side
EXACT = 64  # pictures up to this side are kept pixel by pixel


def write_thumbnails(net: Network, plan: Plan, items: Iterable[int], folder: Path) -> str:
    """Write pictures of some images as the network read them: cropped, resized.

    Parameters
    ----------
    net : Network
        The network. The transform of a specimen is undone; other values are drawn from 0 to 1
        where they lie between, else from each picture's lowest to its highest.
    plan : Plan
        What was read.
    items : iterable of int
        The images wanted.
    folder : Path
        Where ``images/NUMBER.png`` is made, or ``.jpg`` of larger ones.

    Returns
    -------
    str
        How the names of the files end; empty where the inputs are no pictures.
    """
    from PIL import Image

    wanted, suffix = set(items), ""
    for number, batch in enumerate(plan.batches):
        chosen = wanted.intersection(batch)
        if not chosen:
            continue
        x = pictures_of(plan.step(net, number).call)
        if x is None:
            return ""
        x = _undone(net, x)
        suffix = ".png" if max(x.shape[-2:]) <= EXACT else ".jpg"
        (folder / FOLDER).mkdir(exist_ok=True)
        for item in sorted(chosen):
            picture = Image.fromarray(_pixels(x[item - batch.start]))
            picture.thumbnail((LARGEST, LARGEST))
            picture.save(folder / FOLDER / f"{item}{suffix}", quality=88)
    return suffix


def pictures_of(call: Call) -> Tensor | None:
    """Return what a call shows the model, if it is pictures.

    Parameters
    ----------
    call : Call
        What the model is given.

    Returns
    -------
    Tensor of float32, shape (n, channels, rows, columns), or None
        The first argument of four dimensions.
    """
    given = [*call.args, *call.kwargs.values()]
    return next((x.detach().float().cpu() for x in given if getattr(x, "ndim", 0) == 4), None)


def _undone(net: Network, x: Tensor) -> Tensor:
    from nissl.specimens.vision_model import ImageTransform

    transform: Any = net.transform
    if not isinstance(transform, ImageTransform):
        return x
    x = x.flip(1) if transform.order == "bgr" else x
    scale, offset = (x.new_tensor(v).view(1, -1, 1, 1) for v in (transform.std, transform.mean))
    return ((x * scale + offset) / 255).clamp(0, 1)


def _pixels(x: Tensor) -> np.ndarray[Any, Any]:
    """Return a picture as bytes, (rows, columns, 3) or (rows, columns)."""
    grey = x.shape[0] != 3
    x = x.mean(dim=0) if grey else x.permute(1, 2, 0)
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        x = (x - low) / max(high - low, 1e-12)
    return np.asarray((x * 255).round().numpy()).astype(np.uint8)
