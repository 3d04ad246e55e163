"""What a network is: a model with named sites, its tokenizer or image transform.

Functions on networks take this type; the `Network` on top adds the verbs.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.fingerprint import fingerprint
from nissl.network.sites.architectures.architecture import Architecture, factor
from nissl.network.sites.architectures.known import architecture_of
from nissl.network.sites.linear_map import matrix_of
from nissl.network.sites.padding_token import padding_token_of
from nissl.network.sites.site import Site, block_paths, body_path, find_sites, sites_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd


__all__ = ["BaseNetwork"]

SAMPLED = 64  # values of each tensor that are looked at, to see whether it was changed


class BaseNetwork:
    """A model with named sites, without the verbs of `Network`.

    Parameters
    ----------
    model : nn.Module
        Any module; it is put into evaluation mode.
    tokenizer : optional
        A tokenizer of transformers, for text.
    transform : callable, optional
        Turns images into the model's input tensor.
    name : str
        What to call it in provenance.
    architecture : Architecture, optional
        Where the field's names lie; by default told from the model's configuration.

    Examples
    --------
    >>> net = BaseNetwork(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), name="tiny")
    >>> [site.name for site in net.find(["0", "1"])]
    ['0', '1']
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        tokenizer: Any = None,
        transform: Callable[[Any], Tensor] | None = None,
        name: str = "network",
        architecture: Architecture | None = None,
    ) -> None:
        if isinstance(model, torch.jit.ScriptModule):
            raise NisslError(
                "a scripted or traced model keeps no hooks, so that nothing could be recorded or "
                "edited",
                where=name,
                do="give the model from before torch.jit",
            )
        peft: Any = getattr(model, "active_peft_config", None)
        if getattr(peft, "is_prompt_learning", False) and "PREFIX" not in str(peft.peft_type):
            raise NisslError(
                "a model tuned by prompts puts tokens before texts that no position counts",
                where=name,
                do="merge it, or give the model in it: model.get_base_model()",
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.transform = transform
        self.name = name
        self.architecture = architecture or architecture_of(model)
        # Where the blocks of each stack lie in the model, by the stack's name.
        self.block_paths: dict[str, list[str]] = (
            block_paths(model, self.architecture) if self.architecture else {}
        )
        self.named_sites: dict[str, Site] = sites_of(model, self.architecture)
        # What the weights were like when they were hashed, and their hash.
        self._weights_known = ("", "")
        # Sites that an edit is changing now: whether the head must run, and the order of hooks.
        self.editing: list[Site] = []
        # The edit blocks in force, outermost first, which caches of keys and values remember.
        self.edit_blocks: list[Any] = []
        # The changes of each weight in force, by the parameter's id, outermost first.
        self.changed_weights: dict[int, list[Any]] = {}
        # How many tokens of each item are the prompt, while `generate` tells it.
        self.prompt_lengths: list[Tensor] = []

    def __repr__(self) -> str:
        family = self.architecture.name if self.architecture else type(self.model).__name__
        size = f"{self.n_parameters / 1e6:.1f}M parameters"
        return f"{type(self).__name__}({self.name}: {family}, {size})"

    # What it is

    @cached_property
    def n_parameters(self) -> int:
        """How many parameters the model has."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def device(self) -> torch.device:
        """Where inputs are to be put: the device of the model's first parameter in memory."""
        devices = (p.device for p in self.model.parameters())
        # Parameters that lie on disk between calls (`device_map`) are on no device.
        return next((d for d in devices if d.type != "meta"), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model's numbers."""
        return next(
            (p.dtype for p in self.model.parameters() if p.is_floating_point()), torch.float32
        )

    @property
    def body(self) -> nn.Module:
        """Everything but the head: what is run when only activity is wanted."""
        return self.model.get_submodule(body_path(self.model))

    @property
    def n_layers(self) -> int:
        """How many blocks have names; 0 where none do."""
        return 1 + max(
            (s.layer for s in self.named_sites.values() if s.layer is not None), default=-1
        )

    @property
    def context(self) -> int | None:
        """How many tokens the model can read at once, where that is known."""
        config = getattr(self.model, "config", None)
        limit = getattr(config, "max_position_embeddings", None)
        if limit is None:
            return None
        return int(limit) - (0 if self.padding_token is None else self.padding_token + 1)

    @cached_property
    def padding_token(self) -> int | None:
        """The token around which the model counts positions, as RoBERTa does; None where none."""
        return padding_token_of(self.model)

    @property
    def vocabulary_size(self) -> int | None:
        """How many token ids the model knows, where that is known."""
        embeddings = getattr(self.model, "get_input_embeddings", lambda: None)
        try:
            return getattr(embeddings(), "num_embeddings", None)
        except (NotImplementedError, AttributeError):
            return None

    @property
    def weights_hash(self) -> str:
        """A hash of every parameter and buffer by name, as they are now, for provenance.

        All weights are hashed again only where torch counted a change of one, or where a sample of
        their values differs: what is written past torch (``.data``) changes no count.
        """
        held = self.model.state_dict()
        rest = {name: x for name, x in held.items() if not isinstance(x, Tensor)}  # packed int8
        buffers = {name: x for name, x in self.model.named_buffers() if name not in held}
        mark = (_marks([*self.model.named_parameters(), *self.model.named_buffers()]), rest)
        known = fingerprint(mark)
        if known != self._weights_known[0]:
            digest = hashlib.sha256(fingerprint(rest).encode() if rest else b"")
            whole = self._state() | buffers
            tensors = {n: x for n, x in whole.items() if isinstance(x, Tensor)}
            for name, tensor in sorted(tensors.items()):
                digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
                flat = tensor.detach().cpu().contiguous().flatten()
                digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
            self._weights_known = known, digest.hexdigest()[:32]
        return self._weights_known[1]

    def _state(self) -> dict[str, Any]:
        """Parameters and buffers by name, those that lie on disk between calls among them."""
        if not any(p.device.type == "meta" for p in self.model.parameters()):
            return self.model.state_dict()
        from accelerate.utils.modeling import get_state_dict_offloaded_model

        try:
            whole: dict[str, Any] = get_state_dict_offloaded_model(self.model)
        except ValueError as error:
            raise NisslError(
                "weights on the meta device have no values", do="load the model's weights first"
            ) from error
        return whole

    # Its sites

    def sites(self, asked: str | Iterable[str] | None = None) -> pd.DataFrame:
        """Return a table of sites.

        Parameters
        ----------
        asked : str or iterable of str, optional
            Names, globs or module paths; by default every named site, then every module.

        Returns
        -------
        DataFrame
            Columns ``site``, ``layer``, ``width`` (units, where known before a run), ``heads`` and
            ``module``.

        Raises
        ------
        UnknownName
            A name means no site.
        """
        import pandas as pd

        if asked is None:
            every = self.model.named_modules(remove_duplicate=False)
            modules = [path for path, _ in every if path]
            sites = [*self.named_sites.values(), *find_sites(modules, {}, self.model)]
        else:
            sites = self.find(asked)
        rows = [(s.name, s.layer, s.width, s.heads, s.hook_point.path) for s in sites]
        table = pd.DataFrame(rows, columns=["site", "layer", "width", "heads", "module"])
        return table.astype({"layer": "Int64", "width": "Int64", "heads": "Int64"})

    def find(self, asked: str | Iterable[str]) -> list[Site]:
        """Return the sites that names, globs, aliases or module paths mean, and what addresses do.

        Parameters
        ----------
        asked : str or iterable of str
            Sites, or addresses: ``blocks.3.mlp.neurons[812]``, ``blocks.3.attn.z[head 5]``,
            ``blocks.3``, ``blocks.1.attn.z[head 2] -> blocks.4.attn.q[head 3]``.

        Returns
        -------
        list of Site
            In the order asked, each once. A unit, head, layer or edge is a `Part`, with its
            ``kind`` and its ``pieces``: which units of which sites.

        Raises
        ------
        UnknownName
            A name means no site.
        NisslError
            The site has no such unit or head.
        """
        return find_sites(asked, self.named_sites, self.model)

    def set_unit_axis(self, site: str, axis: int) -> None:
        """Say which axis of a module's tensor counts units, where it cannot be told.

        Parameters
        ----------
        site : str
            A module path, as in `find`.
        axis : int
            The axis; the first is the batch's.

        Raises
        ------
        NisslError
            The site is no input or output of a module.

        Examples
        --------
        >>> net = BaseNetwork(nn.Sequential(nn.Conv1d(2, 3, 1), nn.ReLU()))
        >>> net.set_unit_axis("1", 1)
        """
        for found in self.find(site):
            if not hasattr(found.hook_point, "axis"):
                raise NisslError("units are known to lie last here", where=found.name)
            point: Any = found.hook_point
            self.named_sites[found.name] = replace(found, hook_point=replace(point, axis=axis))

    # Its weights

    @property
    def unembedding(self) -> Tensor:
        """Weights from the final norm to the logits, shape (vocabulary, d_model), scale in them."""
        head = getattr(self.model, "get_output_embeddings", lambda: None)()
        config: Any = getattr(self.model, "config", None)
        if head is None or not hasattr(config, "hidden_size"):
            raise NisslError(
                f"{self.name} has no unembedding", do="use a language model with a head"
            )
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        last = config.hidden_size
        # Embeddings may be narrower than the stream, which is projected down to them (OPT-350m).
        down = [m for name, m in self.model.named_modules() if name.endswith(".project_out")]
        width = getattr(config, "word_embed_proj_dim", last) if down else last
        matrix = matrix_of(head, width, like, where="the unembedding")
        for module in down:
            matrix = matrix_of(module, last, like, where="project_out") @ matrix
        matrix = matrix.T.detach()
        return matrix if self.logit_scale == 1 else matrix * self.logit_scale

    @property
    def logit_scale(self) -> float:
        """What the logits are multiplied by, bias included, after the unembedding (Cohere)."""
        config: Any = getattr(self.model, "config", None)
        if getattr(config, "scale_decoder_outputs", False):  # T5 with tied embeddings
            return 1.0 / math.sqrt(config.hidden_size)
        return self._factor("logit_scale")

    def _factor(self, name: str) -> float:
        return factor(getattr(self.model, "config", None), getattr(self.architecture, name, None))

    def output_weights(self, site: str) -> Tensor:
        """Return what each unit of an MLP writes into the residual stream.

        Parameters
        ----------
        site : str
            ``blocks.L.mlp.neurons``.

        Returns
        -------
        Tensor, shape (n_units, d_model)
            Before any norm on the way; a factor of all that is added to the stream is in them.

        Raises
        ------
        NisslError
            The site has no such weights.
        """
        matrix = self._matrix(site, "write").detach()
        found = self.find(site)[0]
        stack = self.stack_of(found)
        if stack is not None and stack.layer_scale:
            gain = getattr(self.block(found.layer or 0, stack.stack), stack.layer_scale, None)
            matrix = matrix if gain is None else matrix * gain.detach()
        scale = self._factor("residual_scale")
        return matrix if scale == 1 else matrix * scale

    def input_weights(self, site: str) -> Tensor:
        """Return what each neuron of an MLP reads from the residual stream (``up``).

        Parameters
        ----------
        site : str
            ``blocks.L.mlp.neurons``.

        Returns
        -------
        Tensor, shape (n_units, d_model)
            After any norm on the way.

        Raises
        ------
        NisslError
            The site has no such weights.
        """
        return self._matrix(site, "read").detach().T

    def gate_weights(self, site: str) -> Tensor | None:
        """Return what opens each neuron's gate, or None where the MLP has none.

        Parameters
        ----------
        site : str
            ``blocks.L.mlp.neurons``.

        Returns
        -------
        Tensor or None, shape (n_units, d_model)
            After any norm on the way.

        Raises
        ------
        NisslError
            The site has no such weights.
        """
        stack = self.stack_of(self.find(site)[0])
        matrices = stack.matrices if stack else None
        if matrices is not None and matrices.gate is None:
            self._matrix(site, "write")  # which says what is no site of neurons
            return None
        return self._matrix(site, "gate").detach().T

    @property
    def blocks(self) -> list[nn.Module]:
        """Every block with names, in the order of computation; none where none has."""
        return [self.model.get_submodule(p) for paths in self.block_paths.values() for p in paths]

    def stack_of(self, site: Site) -> Architecture | None:
        """Return the stack of blocks that a site lies in; None where it lies in none with names.

        Parameters
        ----------
        site : Site
            Of this network.

        Returns
        -------
        Architecture or None
            The architecture, or of an encoder-decoder that of one of the two.
        """
        stacks = self.architecture.stacks if self.architecture and site.layer is not None else ()
        return next((a for a in stacks if site.name.startswith(f"{a.prefix}blocks.")), None)

    def block(self, layer: int, stack: str = "") -> nn.Module:
        """Return one block.

        Parameters
        ----------
        layer : int
            Its number.
        stack : str
            Of an encoder-decoder "encoder" or "decoder".

        Returns
        -------
        nn.Module
            The block.

        Raises
        ------
        NisslError
            The model has no such block.
        """
        known = self.block_paths
        paths = known.get(stack, [])
        if not 0 <= layer < len(paths):
            counts = (f"{len(each)}{name and ' in its '}{name}" for name, each in known.items())
            raise NisslError(
                f"there is no block {layer}{stack and ' in its '}{stack}",
                where=self.name,
                do=f"it has {' and '.join(counts) or 0}",
            )
        return self.model.get_submodule(paths[layer])

    def _matrix(self, site: str, which: str) -> Tensor:
        """One of an MLP's matrices as (in, out), adapters in it."""
        several = self.find(site)
        found = several[0]
        if len(several) > 1:
            raise NisslError(
                f"'{site}' is {len(several)} sites",
                do=f"ask for one block after the other: '{found.name}', ...",
            )
        stack = self.stack_of(found)
        matrices = stack.matrices if stack else None
        if not stack or matrices is None or not found.name.endswith(".mlp.neurons"):
            raise NisslError(f"no weights are known for the units of '{site}'")
        path = getattr(matrices, which)
        block = self.block(found.layer or 0, stack.stack)
        if path not in dict(block.named_modules()):  # DINOv2 giant has other matrices
            raise NisslError(f"no weights are known for the units of '{site}'")
        module = block.get_submodule(path)
        width = found.width
        if which != "write":
            width = self.named_sites[found.name.replace("mlp.neurons", "resid_pre")].width
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        matrix = matrix_of(module, int(width or 0), like, where=f"blocks.{found.layer}.{path}")
        if which == "write" or matrices.gate != matrices.read:
            return matrix
        return matrix.chunk(2, dim=1)[which == "read"]

    # What it is given

    def require_tokenizer(self) -> Any:
        """Return the tokenizer.

        Returns
        -------
        tokenizer
            Of transformers.

        Raises
        ------
        NisslError
            There is none.
        """
        if self.tokenizer is None:
            raise NisslError(
                f"{self.name} has no tokenizer, so it cannot read text",
                do="give token ids, or nissl.load(model, tokenizer=...)",
            )
        return self.tokenizer

    def token_id(self, text: str | int) -> int:
        """Return the id of a text that is one token, such as an answer.

        Parameters
        ----------
        text : str or int
            With the space that begins it; an id is itself.

        Returns
        -------
        int
            Its id.

        Raises
        ------
        NisslError
            The text is several tokens or none, or there is no tokenizer.

        Examples
        --------
        >>> BaseNetwork(nn.Linear(1, 1)).token_id(5)
        5
        """
        if not isinstance(text, str):
            return int(text)
        ids = self.require_tokenizer().encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise NisslError(
                f"{text!r} is {len(ids)} tokens, not one",
                where=str(self.tokens(ids)),
                do="begin it with a space if the text does, choose another word, or give an id",
            )
        return int(ids[0])

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the text of each token.

        Parameters
        ----------
        ids : iterable of int
            Token ids.

        Returns
        -------
        list of str
            One for each.

        Examples
        --------
        >>> BaseNetwork(nn.Linear(1, 1)).tokens([3, 5])
        ['3', '5']
        """
        if self.tokenizer is None:
            return [str(int(i)) for i in ids]
        return [str(self.tokenizer.decode([int(i)])) for i in np.asarray(list(ids))]


def _marks(tensors: list[tuple[str, Tensor]]) -> list[Any]:
    """Return what changes when tensors are changed: counts of changes, and samples of values."""
    marks: list[Any] = []
    for name, tensor in tensors:
        version = -1 if tensor.is_inference() else tensor._version
        if tensor.device.type == "meta" or tensor.is_quantized:
            marks.append((name, version, tuple(tensor.shape)))
            continue
        flat = tensor.detach().flatten()
        sample = flat[:: max(flat.numel() // SAMPLED, 1)][: SAMPLED + 1]
        marks.append((name, version, tensor.data_ptr(), tuple(tensor.shape), sample))
    return marks
