"""A vision model: the module, what turns pictures into its input, and what its outputs name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nissl.errors import NisslError

__all__ = ["ImageTransform", "VisionModel"]


@dataclass(frozen=True)
class VisionModel:
    """A vision model with what it takes to use it.

    Parameters
    ----------
    module : torch.nn.Module
        Takes ``(n_images, 3, height, width)``, in evaluation mode.
    transform : callable
        Turns pictures into that tensor; see `ImageTransform`.
    classes : list of str
        What each output names; empty where there are no classes.

    Examples
    --------
    >>> VisionModel(nn.Identity(), ImageTransform(size=8), []).classes
    []
    """

    module: nn.Module
    transform: Callable[[Any], torch.Tensor]
    classes: list[str]


@dataclass(frozen=True)
class ImageTransform:
    """Turn pictures into the tensor that a vision model was trained on.

    The shorter side is resized to ``size / crop``, the middle is cut out, and the channels are
    shifted and scaled.

    Parameters
    ----------
    size : int
        Height and width of what comes out, in pixels.
    crop : float
        The part of the shorter side that is kept.
    mean, std : sequence of float
        Of each channel, in units of 0 to 255.
    order : {"rgb", "bgr"}
        Order of the channels of what comes out.
    mode : {"bilinear", "bicubic"}
        How pixels are interpolated.

    Examples
    --------
    >>> transform = ImageTransform(size=4, crop=1.0, mean=(0, 0, 0), std=(255, 255, 255))
    >>> transform(np.full((8, 6, 3), 255, np.uint8)).shape
    torch.Size([1, 3, 4, 4])
    """

    size: int = 224
    crop: float = 0.875
    mean: Sequence[float] = (123.675, 116.28, 103.53)
    std: Sequence[float] = (58.395, 57.12, 57.375)
    order: Literal["rgb", "bgr"] = "rgb"
    mode: Literal["bilinear", "bicubic"] = "bilinear"

    def __call__(self, images: Any) -> torch.Tensor:
        """Return the model's input.

        Parameters
        ----------
        images : path, PIL image, array of uint8, or a list of them
            An array is ``(height, width, 3)``, ``(height, width)`` for grey, or a stack of either
            with colours: ``(n, height, width, 3)``.

        Returns
        -------
        Tensor of float32, shape (n_images, 3, size, size)
            One row an image.

        Raises
        ------
        NisslError
            A file is no picture, or an array has another shape or type.
        """
        if isinstance(images, np.ndarray) and images.ndim == 4:
            images = list(images)
        elif not isinstance(images, list | tuple):
            images = [images]
        return torch.cat([self._one(_pixels(image)) for image in images])

    def _one(self, pixels: np.ndarray[Any, Any]) -> torch.Tensor:
        x = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
        height, width = x.shape[-2:]
        scale = self.size / self.crop / min(height, width)
        shape = [max(self.size, round(height * scale)), max(self.size, round(width * scale))]
        x = functional.interpolate(x, shape, mode=self.mode, antialias=True).clamp(0, 255)
        top, left = (shape[0] - self.size) // 2, (shape[1] - self.size) // 2
        x = x[..., top : top + self.size, left : left + self.size]
        x = (x - torch.tensor(self.mean).view(3, 1, 1)) / torch.tensor(self.std).view(3, 1, 1)
        return x.flip(1) if self.order == "bgr" else x


def _pixels(image: Any) -> np.ndarray[Any, Any]:
    """Return a picture as uint8, shape (height, width, 3)."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(image, str | Path):
        try:
            with Image.open(image) as opened:
                return np.asarray(opened.convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise NisslError(
                "the file is no picture that can be read",
                where=str(image),
                do="give a PNG or JPEG file",
            ) from error
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise NisslError(
            f"a picture is (height, width, 3) of uint8, not {pixels.shape} of {pixels.dtype}",
            do="convert it, for instance with (255 * picture).astype('uint8')",
        )
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
