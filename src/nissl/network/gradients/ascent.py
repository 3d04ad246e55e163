"""Gradient ascent on inputs: its settings, and the free numbers that stand for inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork

__all__ = ["Ascent", "Free"]


@dataclass(frozen=True)
class Ascent:
    """How inputs are optimised: steps up the gradient, of a length that falls to zero.

    Parameters
    ----------
    steps : int
        How many.
    rate : float
        Length of the first step, in deviations of what is optimised.
    limit : float, pair, or None
        The largest norm of an input (of a latent, with a generator), or the range (low, high) of
        its values: numbers, or arrays that broadcast. By default of images what the network's
        transform makes of black and of white, else the square root of how many values there are.
    jitter : int
        Images are shifted by up to so many pixels, around the edges, anew at each step.

    Raises
    ------
    NisslError
        There is no step, or a number is out of range.

    Examples
    --------
    >>> Ascent(steps=50, limit=(-1, 1)).rate
    0.05
    """

    steps: int = 200
    rate: float = 0.05
    limit: Any = None
    jitter: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("jitter", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < least:
                raise NisslError(f"{name} is a whole number from {least} on, not {value!r}")
        if not 0 < self.rate < math.inf:
            raise NisslError(f"the rate is above 0, not {self.rate!r}")


class Free:
    """Free numbers u of about unit deviation, and the inputs that they stand for: ``free(u)``."""

    def __init__(self, net: BaseNetwork, start: Any, ascent: Ascent, *, how: Any, n: int) -> None:
        self.given = None if isinstance(start, tuple) else _numbers(start, net.device)
        self.shape = (n, *start) if self.given is None else tuple(self.given.shape)
        if len(self.shape) < 2 or not all(isinstance(d, int) and d > 0 for d in self.shape):
            do = "give the shape of one as a tuple, or an array (n, ...)"
            raise NisslError(f"the start has no inputs: {self.shape}", do=do)
        if how == "fourier" and len(self.shape) != 4:
            raise NisslError("frequencies are of images, (channel, height, width)")
        if not (how is None or how == "fourier" or callable(how)):
            raise NisslError(f"{how!r} is no generator", do="give a function, or 'fourier'")
        limit: Any = ascent.limit
        if limit is None and net.transform is not None and not callable(how):
            pixels = np.zeros((2, *self.shape[2:], 3), np.uint8)
            pixels[1] = 255
            ends = net.transform(pixels if self.shape[1] == 3 else pixels[..., 0])
            limit = [ends.amin((0, 2, 3))[:, None, None], ends.amax((0, 2, 3))[:, None, None]]
        self.unit, self.device = math.prod(self.shape[1:]) ** 0.5, net.device
        pair = isinstance(limit, (tuple, list)) and len(limit) == 2
        norm: Any = self.unit if limit is None or pair else limit
        low, high = self.ends = tuple(_numbers(x, net.device) for x in (limit if pair else (0, 0)))
        self.middle, self.half = (low + high) / 2, (high - low) / 2
        if not (bool((low < high).all()) if pair else np.ndim(norm) == 0 and 0 < norm < math.inf):
            do = "give a norm above 0, or a pair (low, high)"
            raise NisslError(f"no input is within the limit {ascent.limit!r}", do=do)
        self.norm = None if pair else float(norm)
        self.strength: Tensor | None = None  # of frequencies: that of natural images
        if how == "fourier":
            height, width = self.shape[2:]
            rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
            fall = 1 / torch.hypot(rows, columns).clamp(min=1 / max(height, width))
            self.strength = (fall / fall.square().mean().sqrt()).to(net.device)

    def begin(self, rng: torch.Generator, *, fresh: bool = False) -> Tensor:
        """Return the numbers to begin with: those of the inputs that were given, or noise."""
        given = None if fresh else self.given
        if given is None:
            u = torch.randn(self.shape, generator=rng).to(self.device) * (1 if self.norm else 0.1)
        elif self.norm:
            u = given * (self.unit / _each(given).clamp(min=self.norm))
        else:
            u = torch.atanh(((given - self.middle) / self.half).clamp(-0.99, 0.99))
        if self.strength is None:
            return u
        waves = torch.fft.rfft2(u, norm="ortho")
        return torch.view_as_real(waves if given is None else waves / self.strength)

    def __call__(self, u: Tensor) -> Tensor:
        """Return inputs within the limit, shape (n, ...)."""
        if self.strength is not None:
            waves = torch.view_as_complex(u) * self.strength
            u = torch.fft.irfft2(waves, s=self.shape[2:], norm="ortho")
        if not self.norm:
            return torch.addcmul(self.middle, self.half, torch.tanh(u))
        x: Tensor = u * (self.norm / self.unit)
        return x * (self.norm / _each(x).clamp(min=self.norm))

    def noise(self, like: Tensor, n: int, rng: torch.Generator) -> Tensor:
        """Return white noise within the limit, of the mean norm of inputs about the middle."""
        x: Tensor = torch.randn((n, *self.shape[1:]), generator=rng).to(self.device)
        x = self.middle + x * (_each(like - self.middle).mean() / _each(x))
        return x if self.norm else torch.clamp(x, *self.ends)

    def step(self, slope: Tensor, rate: float) -> Tensor:
        """Return a step of each up its gradient, of root mean square `rate`; none where it is 0."""
        root: float = slope[0].numel() ** 0.5
        return slope * (rate * root / _each(slope).clamp(min=1e-30))


def _each(x: Tensor) -> Tensor:
    """Return the norm of each row, shape (n, 1, ...)."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)
    return norm


def _numbers(given: Any, device: torch.device) -> Tensor:
    try:
        x = torch.as_tensor(given if isinstance(given, Tensor) else np.array(given, np.float32))
    except (TypeError, ValueError) as error:
        raise NisslError("a start or limit is no array of numbers") from error
    if not bool(torch.isfinite(x).all()):
        raise NisslError("a start or limit has numbers that are not finite")
    return x.detach().to(device, torch.float32).contiguous()
