"""A dictionary that is trained: an encoder, a kind of activation, and a decoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.features.codes import Codes

if TYPE_CHECKING:
    from nissl.features.kinds.kind import Kind

__all__ = ["FORMAT", "TrainedDictionary"]

FORMAT = "nissl.dictionary 1"


class TrainedDictionary(nn.Module):
    """Features of a site, learned from its activity: a `nissl.network.Dictionary`.

    Features are ``kind.encode((x / scale - b_dec) @ w_enc.T + b_enc)``, where a transcoder does not
    subtract ``b_dec``; activity is ``(features @ w_dec + b_dec) * scale_out``.

    Parameters
    ----------
    kind : Kind
        Its activation, and what training adds to the error.
    n_features : int
        How many features it has.
    width : int
        Units of the site that is encoded.
    site_in : str
        That site.
    site_out : str
        The site that is decoded to; by default the same.
    width_out : int, optional
        Its units.
    transcodes : bool, optional
        Whether what is decoded is other activity than what is encoded; by default where the sites
        are two. Its features are then called "transcoder", else "sae".
    seed : int
        Of the first weights: decoder rows of random directions, the encoder the same; of a
        transcoder encoder rows of random directions, and a decoder of zeros.

    Attributes
    ----------
    patience : int
        Samples without activity after which the kinds that revive features revive one.
    """

    w_enc: Tensor
    b_enc: Tensor
    w_dec: Tensor
    b_dec: Tensor
    scale: Tensor
    scale_out: Tensor
    silent: Tensor

    def __init__(
        self,
        kind: Kind,
        n_features: int,
        width: int,
        *,
        site_in: str = "",
        site_out: str = "",
        width_out: int | None = None,
        transcodes: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.kind, self.seed = kind, seed
        self.patience = 500_000
        self.site_in, self.site_out = site_in, site_out or site_in
        self.transcodes = self.site_out != self.site_in if transcodes is None else transcodes
        self.name = "transcoder" if self.transcodes else "sae"
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(n_features, width_out or width, generator=generator)
        rows = nn.functional.normalize(rows)
        enc = rows
        if self.transcodes:  # what is read says nothing of what is written: that begins at its mean
            enc = nn.functional.normalize(torch.randn(n_features, width, generator=generator))
            rows = torch.zeros_like(rows)
        self.w_dec = nn.Parameter(rows * kind.decoder_norm)
        self.w_enc = nn.Parameter(enc.clone())
        self.b_enc = nn.Parameter(torch.zeros(n_features))
        self.b_dec = nn.Parameter(torch.zeros(rows.shape[1]))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("scale_out", torch.ones(()))
        self.register_buffer("silent", torch.zeros(n_features, dtype=torch.int64))
        kind.begin(self)

    def extra_repr(self) -> str:
        """Say what it is: the cache of training keeps a hash of this."""
        sites = self.site_in if not self.transcodes else f"{self.site_in} -> {self.site_out}"
        return f"{self.kind}, {self.n_features} features of {sites or 'activity'}"

    @property
    def n_features(self) -> int:
        """How many features there are."""
        return len(self.w_dec)

    @property
    def directions(self) -> Tensor:
        """What each feature adds to `site_out`, shape (n_features, width)."""
        return self.w_dec.detach() * self.scale_out

    def scaled(self, x: Tensor) -> Tensor:
        """Return activity as the encoder is given it, but for the decoder's bias."""
        return (x / self.scale).to(self.w_enc)

    def bias(self) -> Tensor:
        """Return the encoder's bias on scaled activity, the decoder's taken off it."""
        return self.b_enc if self.transcodes else self.b_enc - self.w_enc @ self.b_dec

    def scores(self, scaled: Tensor) -> Tensor:
        """Return features before the activation, shape (..., n_features)."""
        return nn.functional.linear(scaled, self.w_enc, self.bias())

    def decoded(self, features: Tensor | Codes) -> Tensor:
        """Return what is decoded, in the decoder's scale."""
        if isinstance(features, Codes):
            return features.decode(self.w_dec) + self.b_dec
        return features @ self.w_dec + self.b_dec

    def encode(self, x: Tensor) -> Tensor:
        """Return the features of activity.

        Parameters
        ----------
        x : Tensor, shape (..., width)
            Activity at `site_in`.

        Returns
        -------
        Tensor, shape (..., n_features)
            Features.
        """
        if x.shape[-1] != self.w_enc.shape[1]:
            raise NisslError(
                f"the dictionary reads {self.w_enc.shape[1]} units, not {x.shape[-1]}",
                where=self.site_in or None,
                do="give activity of the site that it was trained on",
            )
        scaled = self.scaled(x)
        flat = scaled.reshape(-1, scaled.shape[-1])
        found = self.kind.encode(self, flat)
        dense = found.dense() if isinstance(found, Codes) else found
        return dense.reshape(*x.shape[:-1], -1).to(x.dtype)

    def decode(self, features: Tensor) -> Tensor:
        """Return activity of features.

        Parameters
        ----------
        features : Tensor, shape (..., n_features)
            Features.

        Returns
        -------
        Tensor, shape (..., width)
            Activity at `site_out`.
        """
        return (self.decoded(features.to(self.w_dec)) * self.scale_out).to(features.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return activity as it is rebuilt from its features."""
        return self.decode(self.encode(x))

    def save(self, path: str | Path) -> Path:
        """Write weights and description as safetensors.

        Parameters
        ----------
        path : str or Path
            Where to.

        Returns
        -------
        Path
            The file.
        """
        from safetensors.torch import save_file

        about = {
            "kind": self.kind.named(),
            "sites": [self.site_in, self.site_out],
            "transcodes": self.transcodes,
            "seed": self.seed,
        }
        weights = {name: x.detach().contiguous() for name, x in self.state_dict().items()}
        save_file(weights, path, {"format": FORMAT, "about": json.dumps(about, sort_keys=True)})
        return Path(path)
