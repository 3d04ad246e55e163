"""Ten transformers of one architecture from ten initialisations, over the letters of transcripts.

They tell, for every nucleotide of a transcript, whether translation begins there. Five learned
from human transcripts and five from mouse ones. They are Performers: of the eight heads of a layer,
three attend to everything through random features (linear in length), five to nearby windows.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from nissl.errors import NisslError
from nissl.specimens.fetch import fetch

__all__ = ["TranscriptTransformer", "tis_folds", "transcript_tokens"]

LETTERS = "ATCGN"
BEGIN, END = 5, 6
SPECIES = {"human": "Homo_sapiens", "mouse": "Mus_musculus"}


def tis_folds() -> dict[str, TranscriptTransformer]:
    """Return the ten networks, by species and fold: ``human-0`` to ``mouse-4``.

    Returns
    -------
    dict of str to TranscriptTransformer
        In evaluation mode, float32: 8 layers x 48, 8 heads, 192 neurons a layer.

    Raises
    ------
    NisslError
        They cannot be fetched.

    Examples
    --------
    >>> networks = tis_folds()  # doctest: +SKIP
    >>> networks["human-0"](transcript_tokens("GCCACCATGGCG")).softmax(-1)  # doctest: +SKIP

    Source: Clauwaert et al. 2023, TIS Transformer; transcript-transformer 1.1.1; MIT.
    """
    folder = fetch("tis-folds") / "transcript_transformer" / "pretrained" / "tt_models"
    networks = {}
    for species, latin in SPECIES.items():
        for fold in range(5):
            (path,) = folder.glob(f"{latin}.*_f{fold}.tt.ckpt")
            state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
            network = TranscriptTransformer()
            network.load_state_dict(_renamed(state))
            networks[f"{species}-{fold}"] = network.eval()
    return networks


def transcript_tokens(sequence: str) -> torch.Tensor:
    """Return the tokens of one transcript, between a begin and an end token.

    Parameters
    ----------
    sequence : str
        Letters A, T (or U), C, G and N, in either case.

    Returns
    -------
    Tensor of int64, shape (1, n_letters + 2)
        What `TranscriptTransformer` takes.

    Raises
    ------
    NisslError
        Another letter.

    Examples
    --------
    >>> transcript_tokens("AUG").tolist()
    [[5, 0, 1, 3, 6]]
    """
    letters = sequence.upper().replace("U", "T")
    for place, letter in enumerate(letters):
        if letter not in LETTERS:
            raise NisslError(
                f"a transcript has no letter {letter!r}",
                where=f"place {place}",
                do="write A, T or U, C, G, and N for what is not known",
            )
    return torch.tensor([[BEGIN, *(LETTERS.index(letter) for letter in letters), END]])


class TranscriptTransformer(nn.Module):
    """A Performer over nucleotides: embedding, blocks, and a head of two layers.

    Parameters
    ----------
    n_layers : int
        Blocks.
    d_model : int
        Width of the residual stream.

    Examples
    --------
    >>> TranscriptTransformer(n_layers=1)(transcript_tokens("ATG")).shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, n_layers: int = 8, d_model: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(8, d_model)
        self.blocks = nn.ModuleList(Block(d_model) for _ in range(n_layers))
        self.head = Mlp(d_model, 2 * d_model, 2, nn.ReLU())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of "elsewhere" and "translation begins here" at each token.

        Parameters
        ----------
        tokens : Tensor of int64, shape (n_transcripts, n_tokens)
            Transcripts of one length: the networks attend to padding, so there may be none.

        Returns
        -------
        Tensor, shape (n_transcripts, n_tokens, 2)
            Logits.
        """
        x = self.embed(tokens)
        angles = _angles(tokens.shape[1], x.shape[-1], x)
        x = x + torch.cat((angles.sin(), angles.cos()), dim=-1)
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(x)
        return logits


class Block(nn.Module):
    """Attention, then a GELU MLP, each after a layer norm and added to the residual stream."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = Attention(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.mlp = Mlp(d_model, 4 * d_model, d_model, nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual stream after the block, shape as before."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear maps with a nonlinearity between."""

    def __init__(self, n_in: int, n_hidden: int, n_out: int, activation: nn.Module) -> None:
        super().__init__()
        self.fc1 = nn.Linear(n_in, n_hidden)
        self.activation = activation
        self.fc2 = nn.Linear(n_hidden, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output, shape (..., n_out)."""
        return self.fc2(self.activation(self.fc1(x)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Three heads over everything by random features, and five over neighbouring windows."""

    def __init__(
        self, d_model: int, n_global: int = 3, n_local: int = 5, d_head: int = 16, window: int = 256
    ) -> None:
        super().__init__()
        width = (n_global + n_local) * d_head
        self.n_global, self.d_head, self.window = n_global, d_head, window
        self.q = nn.Linear(d_model, width)
        self.k = nn.Linear(d_model, width)
        self.v = nn.Linear(d_model, width)
        self.out = nn.Linear(width, d_model)
        self.features: torch.Tensor
        self.register_buffer("features", torch.zeros(5 * d_head, d_head))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what attention adds to the residual stream, shape as `x`."""
        q, k, v = (
            part(x).unflatten(-1, (-1, self.d_head)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        angles = _angles(x.shape[1], self.d_head, x)
        n = self.n_global
        far = self._far(_turn_pairs(q[:, :n], angles), _turn_pairs(k[:, :n], angles), v[:, :n])
        near = self._near(_turn_halves(q[:, n:], angles), _turn_halves(k[:, n:], angles), v[:, n:])
        heads = torch.cat((far, near), dim=1)
        return self.out(heads.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _far(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attend to everything: softmax in expectation over random features, linear in length."""
        q, k = self._feature_map(q, over=(-1,)), self._feature_map(k, over=(-1, -2))
        total = q @ k.sum(-2).unsqueeze(-1)
        return q @ (k.transpose(-1, -2) @ v) / total

    def _feature_map(self, x: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
        x = x * self.d_head**-0.25
        dots = x @ self.features.T
        shifted = dots - x.square().sum(-1, keepdim=True) / 2 - dots.amax(over, keepdim=True)
        return shifted.exp() + 1e-4

    def _near(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attend to the window of the query and the ones before and after it."""
        n_items, n, window = len(q), q.shape[2], self.window
        beyond = -n % window
        # Windows count as items of the batch: the fused kernel knows no other dimension.
        q = functional.pad(q, (0, 0, 0, beyond)).unflatten(2, (-1, window))
        q = q.transpose(1, 2).flatten(0, 1)
        k, v = (
            functional.pad(part, (0, 0, window, beyond + window))
            .unfold(2, 3 * window, window)
            .permute(0, 2, 1, 4, 3)
            .flatten(0, 1)
            for part in (k, v)
        )
        places = torch.arange(-window, n + beyond + window, device=q.device)
        real = ((places >= 0) & (places < n)).unfold(0, 3 * window, window)[:, None, None]
        real = real.repeat(n_items, 1, 1, 1)
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=real)
        return found.unflatten(0, (n_items, -1)).transpose(1, 2).flatten(2, 3)[:, :, :n]  # type: ignore[no-any-return]


def _angles(n: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """Return the angle of each position at each of ``width / 2`` frequencies."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=like.device) / width)
    return torch.outer(torch.arange(n, device=like.device), rates).to(like.dtype)


def _turn_pairs(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Turn neighbouring dimensions by the angles of their positions."""
    first, second = x[..., 0::2], x[..., 1::2]
    sin, cos = angles.sin(), angles.cos()
    return torch.stack((first * cos - second * sin, second * cos + first * sin), -1).flatten(-2)


def _turn_halves(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Turn dimensions half a head apart by the angles of their positions."""
    first, second = x.chunk(2, dim=-1)
    sin, cos = angles.sin(), angles.cos()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors under the names of `TranscriptTransformer`."""
    names = {
        "0.norm": "norm1",
        "0.fn.to_q": "attention.q",
        "0.fn.to_k": "attention.k",
        "0.fn.to_v": "attention.v",
        "0.fn.to_out": "attention.out",
        "1.norm": "norm2",
        "1.fn.fn.w1": "mlp.fc1",
        "1.fn.fn.w2": "mlp.fc2",
    }
    outside = {"nuc_emb": "embed", "ff_1": "head.fc1", "ff_2": "head.fc2"}
    prefix = "transformer.net.layers."
    found = {}
    for name, tensor in state.items():
        part, _, ending = name.rpartition(".")
        if part in outside:
            found[f"{outside[part]}.{ending}"] = tensor
        elif name.startswith(prefix):
            layer, _, inner = part.removeprefix(prefix).partition(".")
            if inner in names:
                found[f"blocks.{layer}.{names[inner]}.{ending}"] = tensor
            elif inner == "0.fn.fast_attention":
                found[f"blocks.{layer}.attention.features"] = tensor
    return found
