"""EfficientNet-Lite in plain torch: inverted bottlenecks without squeeze-and-excitation."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

__all__ = ["EfficientNetLite", "InvertedBottleneck", "SameConv2d"]

# Each stage: blocks, kernel, stride, expansion, channels that go out.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow pads: the odd pixel below and on the right.

    Examples
    --------
    >>> SameConv2d(1, 1, 3, stride=2)(torch.zeros(1, 1, 6, 6)).shape
    torch.Size([1, 1, 3, 3])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the convolution, of height ``ceil(height / stride)``."""
        pads = []
        for n, kernel, stride in zip(
            reversed(input.shape[-2:]), self.kernel_size, self.stride, strict=True
        ):
            pad = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(functional.pad(input, pads))


class InvertedBottleneck(nn.Module):
    """Widen, convolve each channel alone, narrow; added to the input where the shapes agree.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    kernel, stride : int
        Of the convolution of each channel.
    expansion : int
        How much wider the middle is.

    Examples
    --------
    >>> InvertedBottleneck(4, 4, 3, 1, 6).eval()(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = n_in * expansion
        self.expand = _normed(SameConv2d(n_in, middle, 1, bias=False)) if expansion > 1 else None
        depthwise = SameConv2d(n_in * expansion, middle, kernel, stride, groups=middle, bias=False)
        self.depthwise = _normed(depthwise)
        self.project = _normed(SameConv2d(middle, n_out, 1, bias=False), relu=False)
        self.adds = stride == 1 and n_in == n_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, shape (n_images, n_out, height, width)."""
        wide = x if self.expand is None else self.expand(x)
        y: torch.Tensor = self.project(self.depthwise(wide))
        return y + x if self.adds else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite: a stem, seven stages of inverted bottlenecks, and 1000 classes.

    Parameters
    ----------
    width, depth : float
        How much wider and deeper than Lite0 (Lite1: 1.0 and 1.1; Lite2: 1.1 and 1.2).

    Examples
    --------
    >>> len(EfficientNetLite(1.0, 1.0).blocks)
    16

    Source: Tan and Le 2019, EfficientNet; the Lite variants of 2020.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.stem = _normed(SameConv2d(3, 32, 3, 2, bias=False))
        blocks: list[nn.Module] = []
        n_in = 32
        for number, (n_blocks, kernel, stride, expansion, channels) in enumerate(STAGES):
            n_out = _rounded(channels * width)
            # The Lite variants neither widen the stem and head nor deepen the outer stages.
            if number not in (0, len(STAGES) - 1):
                n_blocks = math.ceil(n_blocks * depth)
            for block in range(n_blocks):
                first = stride if block == 0 else 1
                blocks.append(InvertedBottleneck(n_in, n_out, kernel, first, expansion))
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.head = _normed(SameConv2d(n_in, 1280, 1, bias=False))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (n_images, 1000), of images (n_images, 3, height, width)."""
        x = self.head(self.blocks(self.stem(x)))
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of the common checkpoints under the names of `EfficientNetLite`.

    Parameters
    ----------
    state : dict of str to Tensor
        Such as ``_blocks.3._project_conv.weight``.

    Returns
    -------
    dict of str to Tensor
        Such as ``blocks.3.project.conv.weight``.

    Examples
    --------
    >>> list(renamed({"_blocks.3._bn2.bias": torch.zeros(1)}))
    ['blocks.3.project.bn.bias']
    """
    names = {
        "_conv_stem": "stem.conv",
        "_bn0": "stem.bn",
        "_conv_head": "head.conv",
        "_bn1": "head.bn",
        "_fc": "fc",
    }
    inner = {
        "_expand_conv": "expand.conv",
        "_bn0": "expand.bn",
        "_depthwise_conv": "depthwise.conv",
        "_bn1": "depthwise.bn",
        "_project_conv": "project.conv",
        "_bn2": "project.bn",
    }
    found = {}
    for name, tensor in state.items():
        module, _, ending = name.rpartition(".")
        if module.startswith("_blocks."):
            _, number, part = module.split(".")
            found[f"blocks.{number}.{inner[part]}.{ending}"] = tensor
        else:
            found[f"{names[module]}.{ending}"] = tensor
    return found


def _normed(conv: nn.Module, *, relu: bool = True) -> nn.Sequential:
    parts = nn.Sequential()
    parts.add_module("conv", conv)
    parts.add_module("bn", nn.BatchNorm2d(int(conv.out_channels), eps=1e-3, momentum=0.01))  # type: ignore[arg-type]
    if relu:
        parts.add_module("relu", nn.ReLU6())
    return parts


def _rounded(channels: float) -> int:
    """Round to a multiple of 8, and never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
