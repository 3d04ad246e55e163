"""A small convolutional network that learns to name photographs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["small_image_model"]

MEAN, SCALE = 120.0, 64.0  # about those of the bytes of photographs


def small_image_model(*, n_classes: int = 10, seed: int = 0) -> SmallImageModel:
    """Make a convolutional network of four layers with fresh weights.

    Parameters
    ----------
    n_classes : int
        How many logits it gives.
    seed : int
        Of its weights; torch's own generator is left as it was.

    Returns
    -------
    SmallImageModel
        A module with ``layer1`` to ``layer4`` (convolution, batch norm, ReLU; of 32, 64, 128 and
        256 channels) and ``head``.

    Examples
    --------
    >>> model = small_image_model(seed=1)
    >>> model(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).shape
    torch.Size([2, 10])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallImageModel(n_classes)


class SmallImageModel(nn.Module):
    """Four layers of filters, and a linear reading of their means over places.

    Parameters
    ----------
    n_classes : int
        How many logits it gives.
    """

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.layer1 = _layer(3, 32, size=4, stride=2)
        self.layer2 = _layer(32, 64)
        self.layer3 = _layer(64, 128)
        self.layer4 = _layer(128, 256)
        self.head = nn.Linear(256, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (batch, n_classes).

        Parameters
        ----------
        images : tensor, shape (batch, height, width, 3) of bytes, or (batch, 3, height, width)
            Pixels; bytes are standardised (`standardised`), other numbers are read as they are.

        Returns
        -------
        Tensor
            The logits.
        """
        x = standardised(images) if images.dtype == torch.uint8 else images
        x = functional.max_pool2d(self.layer2(self.layer1(x)), 2)
        x = self.layer4(functional.max_pool2d(self.layer3(x), 2))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def _layer(n_in: int, n_out: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(n_in, n_out, size, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU())


def standardised(images: Tensor) -> Tensor:
    """Return bytes of photographs as numbers about zero, channels first.

    Parameters
    ----------
    images : tensor of uint8, shape (batch, height, width, 3)
        Pixels.

    Returns
    -------
    Tensor, shape (batch, 3, height, width)
        Of deviation about one.

    Examples
    --------
    >>> standardised(torch.full((1, 1, 1, 3), 184, dtype=torch.uint8)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """
    return (images.permute(0, 3, 1, 2).float() - MEAN) / SCALE
