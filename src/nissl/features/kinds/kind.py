"""What a kind of dictionary is; a new one is a file with one class, and a line in `KINDS`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from nissl.errors import NisslError, require_known

if TYPE_CHECKING:
    from nissl.features.codes import Codes

__all__ = ["KINDS", "Kind", "Weights", "kind_of", "require_k"]

# The module of each kind, which has a class of that name in capitals: topk.TopK.
KINDS = {
    "relu": "ReLU",
    "gated": "Gated",
    "topk": "TopK",
    "batch_topk": "BatchTopK",
    "jump_relu": "JumpReLU",
    "matryoshka": "Matryoshka",
    "gradient_topk": "GradientTopK",
}


class Weights(Protocol):
    """What a kind is given of a dictionary, and parameters of the kind's own."""

    w_enc: Tensor
    b_enc: Tensor
    w_dec: Tensor
    b_dec: Tensor
    silent: Tensor
    patience: int
    training: bool

    @property
    def n_features(self) -> int:
        """How many features there are."""

    def bias(self) -> Tensor:
        """Return the encoder's bias on scaled activity."""

    def scores(self, scaled: Tensor) -> Tensor:
        """Return features before the activation."""

    def decoded(self, features: Any) -> Tensor:
        """Return what is decoded, in the decoder's scale."""

    def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None: ...


@dataclass(frozen=True)
class Kind:
    """An activation of features, and what training adds to the error."""

    name: ClassVar[str] = ""
    decoder_norm: ClassVar[float] = 1.0  # of the first rows

    def begin(self, dictionary: Weights) -> None:
        """Give a dictionary the parameters that this kind alone has."""

    def encode(self, dictionary: Weights, scaled: Tensor) -> Tensor | Codes:
        """Return the features of scaled activity, shape (n_samples, width)."""
        raise NisslError("the kind has no encode", where=type(self).__name__, do="write one")

    def error(self, dictionary: Weights, features: Tensor | Codes, y: Tensor) -> Tensor:
        """Return the squared error of each sample, shape (n_samples,)."""
        return (y - dictionary.decoded(features)).square().sum(-1)

    def penalty(
        self, dictionary: Weights, x: Tensor, y: Tensor, features: Tensor | Codes
    ) -> Tensor:
        """Return what is added to the mean error, which is in shares of the variance."""
        return torch.zeros((), device=y.device)

    def named(self) -> dict[str, Any]:
        """Return its name and options, for a file."""
        return {"kind": self.name, **asdict(self)}


def require_k(k: int, dictionary: Weights) -> None:
    """Refuse more features of a sample than there are, or none."""
    if not 0 < k <= dictionary.n_features:
        raise NisslError(
            f"k={k} of {dictionary.n_features} features",
            do=f"give k= from 1 to {dictionary.n_features}",
        )


def kind_of(given: Kind | str | dict[str, Any], **options: Any) -> Kind:
    """Return a kind by its name.

    Parameters
    ----------
    given : Kind, str or dict
        A kind; a name of `KINDS`; or a name and options, as `Kind.named` returns them.
    **options
        Of a kind by its name; those that are None are the kind's own.

    Returns
    -------
    Kind
        The kind.

    Raises
    ------
    UnknownName
        There is none of that name.
    NisslError
        It does not have these options.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if isinstance(given, Kind):
        if options:
            raise NisslError(
                f"the kind has its options already: {given}", do=f"leave {', '.join(options)}= out"
            )
        return given
    name = given if isinstance(given, str) else str(given["kind"])
    require_known("kind", name, list(KINDS))
    made: type[Kind] = getattr(import_module(f"nissl.features.kinds.{name}"), KINDS[name])
    wanted = options if isinstance(given, str) else {k: v for k, v in given.items() if k != "kind"}
    try:
        return made(**wanted)
    except TypeError as error:
        raise NisslError(f"{name} cannot have these options: {error}") from error
