"""ResNet-50 in plain torch, its modules named as torchvision names them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["Bottleneck", "ResNet50", "resnet50_from_keras"]


class Bottleneck(nn.Module):
    """Three convolutions, the middle one 3 x 3, added to their input.

    Parameters
    ----------
    n_in : int
        Channels that come in.
    n_middle : int
        Channels of the first two convolutions; four times as many go out.
    stride : int
        Of the first convolution, as in the paper (later variants put it on the second).

    Examples
    --------
    >>> Bottleneck(64, 64).eval()(torch.zeros(1, 64, 8, 8)).shape
    torch.Size([1, 256, 8, 8])
    """

    def __init__(self, n_in: int, n_middle: int, stride: int = 1) -> None:
        super().__init__()
        n_out = 4 * n_middle
        self.conv1 = nn.Conv2d(n_in, n_middle, 1, stride)
        self.bn1 = nn.BatchNorm2d(n_middle, eps=1e-3)
        self.conv2 = nn.Conv2d(n_middle, n_middle, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(n_middle, eps=1e-3)
        self.conv3 = nn.Conv2d(n_middle, n_out, 1)
        self.bn3 = nn.BatchNorm2d(n_out, eps=1e-3)
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride), nn.BatchNorm2d(n_out, eps=1e-3)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, shape (n_images, 4 * n_middle, height, width)."""
        kept = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + kept)  # type: ignore[no-any-return]


class ResNet50(nn.Module):
    """ResNet-50: a stem, four layers of 3, 4, 6 and 3 bottlenecks, and 1000 classes.

    Examples
    --------
    >>> len(ResNet50().layer3)
    6

    Source: He et al. 2016, Deep residual learning for image recognition.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3)
        self.bn1 = nn.BatchNorm2d(64, eps=1e-3)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _layer(64, 64, 3, 1)
        self.layer2 = _layer(256, 128, 4, 2)
        self.layer3 = _layer(512, 256, 6, 2)
        self.layer4 = _layer(1024, 512, 3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (n_images, 1000), of images (n_images, 3, height, width)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def resnet50_from_keras(weights: dict[str, np.ndarray[Any, Any]]) -> ResNet50:
    """Return a ResNet-50 with the weights of Keras' first one.

    Parameters
    ----------
    weights : dict of str to array
        By Keras' names: ``res2a_branch2a/kernel``, shape (height, width, in, out), and so on.

    Returns
    -------
    ResNet50
        In evaluation mode.

    Examples
    --------
    >>> resnet50_from_keras(weights)  # doctest: +SKIP
    """
    module = ResNet50()
    state = {}
    for name, tensor in weights.items():
        layer, part = name.split("/")
        state[f"{_module_of(layer)}.{_PARTS[part]}"] = torch.from_numpy(_as_torch(tensor).copy())
    module.load_state_dict({**module.state_dict(), **state})
    return module.eval()


_PARTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _layer(n_in: int, n_middle: int, n_blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(n_in, n_middle, stride)
    return nn.Sequential(first, *(Bottleneck(4 * n_middle, n_middle) for _ in range(n_blocks - 1)))


def _module_of(layer: str) -> str:
    """Return where a layer of Keras' model is in ours: ``bn3b_branch2c`` is ``layer2.1.bn3``."""
    outside = {"conv1": "conv1", "bn_conv1": "bn1", "fc1000": "fc"}
    if layer in outside:
        return outside[layer]
    kind = "bn" if layer.startswith("bn") else "conv"
    place, branch = layer.removeprefix("bn").removeprefix("res").split("_branch")
    at = f"layer{int(place[0]) - 1}.{'abcdef'.index(place[1])}"
    if branch == "1":  # the way around: a convolution, then its norm
        return f"{at}.downsample.{int(kind == 'bn')}"
    return f"{at}.{kind}{'abc'.index(branch[1]) + 1}"


def _as_torch(tensor: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if tensor.ndim == 4:
        return tensor.transpose(3, 2, 0, 1)
    return tensor.T if tensor.ndim == 2 else tensor
