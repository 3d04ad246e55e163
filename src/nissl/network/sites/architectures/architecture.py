"""One architecture: where its blocks, sites and matrices lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nissl.network.sites.hook_points import HookPoint

__all__ = ["Architecture", "Matrices", "factor"]


@dataclass(frozen=True)
class Architecture:
    """One family of models: its stack of blocks, and the stack computed after it where it has two.

    Parameters
    ----------
    name : str
        The family's name.
    model_types : tuple of str
        Values of ``config.model_type`` that belong to it.
    blocks : str
        Path of the list of blocks in the model's body; where stages have a list each, with a "*"
        for the stage.
    embed, final_norm : str or None
        Paths in the body; None where no module has such an output.
    block : callable
        ``block(path, config)`` gives the hook points of one block by the field's names.
    matrices : Matrices or None
        Weights of the MLP's neurons; None for mixtures of experts.
    norms : tuple of (str or None, str or None)
        Norms inside a block through which attention and MLP outputs pass on their way into the
        residual stream.
    post_norm : bool
        The stream itself is normed after each addition (BERT): ``resid_mid`` is
        norm(resid_pre + attn.out), and ``resid_post`` likewise.
    parallel : bool
        Attention and MLP read the same stream, so there is no ``resid_mid`` (GPT-NeoX).
    positions : bool
        Padding on the left moves tokens, unless their positions are told (``position_ids``).
    grows : bool
        Blocks may be given more items than the model was: it keeps nothing of the batch's size.
    residual_scale, logit_scale : str, optional
        What the configuration calls a factor of all that a block adds to the stream, and one of
        the logits ("/name" divides).
    stack : str
        What stands before the names of its sites, as in ``encoder.blocks.3.mlp.neurons``.
    then : Architecture, optional
        The stack that is computed after it: the decoder of an encoder-decoder.
    axis : int
        Which axis of the stream's tensors counts units.
    layer_scale : str, optional
        The parameter of a block by which what its MLP adds to the stream is multiplied.
    flag : str, optional
        What the configuration must set for a model to be of this family.
    """

    name: str
    model_types: tuple[str, ...]
    blocks: str
    embed: str | None
    final_norm: str | None
    block: Callable[[str, Any], Mapping[str, HookPoint]]
    matrices: Matrices | None
    norms: tuple[str | None, str | None] = (None, None)
    post_norm: bool = False
    parallel: bool = False
    positions: bool = True
    grows: bool = True
    residual_scale: str | None = None
    logit_scale: str | None = None
    stack: str = ""
    then: Architecture | None = None
    axis: int = -1
    layer_scale: str | None = None
    flag: str | None = None

    @property
    def stacks(self) -> tuple[Architecture, ...]:
        """Its stacks in the order of computation."""
        return (self, *(self.then.stacks if self.then else ()))

    @property
    def prefix(self) -> str:
        """What stands before the names of the stack's sites, with its dot."""
        return f"{self.stack}." if self.stack else ""


def factor(config: Any, name: str | None) -> float:
    """Return a factor that a configuration gives.

    Parameters
    ----------
    config : Any
        The configuration of a model.
    name : str or None
        What it is called there, "/name" where it divides; None is 1.

    Returns
    -------
    float
        The factor.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> factor(SimpleNamespace(logits_scaling=8.0), "/logits_scaling")
    0.125
    """
    if name is None:
        return 1.0
    value = getattr(config, name.removeprefix("/"), None)
    value = 1.0 if value is None else float(value)
    return 1.0 / value if name.startswith("/") else value


@dataclass(frozen=True)
class Matrices:
    """Modules whose weights belong to the neurons of an MLP, as paths inside a block.

    Parameters
    ----------
    read : str
        What neurons read from the residual stream (``up`` in a gated MLP); where it is the gate's
        too, its second half.
    write : str
        What neurons write into it.
    gate : str, optional
        The gate's, in a gated MLP.
    activation : str
        The module of the nonlinearity.
    norm : tuple of str
        The norm through which neurons see the stream: the first of these that a block has.
    """

    read: str
    write: str
    gate: str | None = None
    activation: str | None = None
    norm: tuple[str, ...] = ()
