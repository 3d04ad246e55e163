"""The Network: a model with named sites, its tokenizer or image transform, and nothing else."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.network.architectures import Architecture, architecture_of
from nissl.network.site import Site, body_path, find_sites, sites_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from nissl.network.dictionary import Dictionary

__all__ = ["Network"]


class Network:
    """A model with named sites.

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
    >>> net = Network(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), name="tiny")
    >>> {site: tuple(x.shape) for site, x in net.run(torch.zeros(5, 4), sites=["1", "2"]).items()}
    {'1': (5, 3), '2': (5, 2)}
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
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.transform = transform
        self.name = name
        self.architecture = architecture or architecture_of(model)
        self.named_sites: dict[str, Site] = sites_of(model, self.architecture)
        # Sites that an edit is changing now: whether the head must run, and the order of hooks.
        self.editing: list[Site] = []
        # The edit blocks in force, outermost first, which caches of keys and values remember.
        self.edit_blocks: list[Any] = []
        # How many tokens of each item are the prompt, while `generate` tells it.
        self.prompt_lengths: list[Tensor] = []

    def __repr__(self) -> str:
        family = self.architecture.name if self.architecture else type(self.model).__name__
        return f"Network({self.name}: {family}, {self.n_parameters / 1e6:.1f}M parameters)"

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
        return None if limit is None else int(limit)

    @property
    def vocabulary_size(self) -> int | None:
        """How many token ids the model knows, where that is known."""
        embeddings = getattr(self.model, "get_input_embeddings", lambda: None)
        try:
            return getattr(embeddings(), "num_embeddings", None)
        except (NotImplementedError, AttributeError):
            return None

    @cached_property
    def weights_hash(self) -> str:
        """A hash of every parameter and buffer by name, for provenance."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._state().items()):
            if not isinstance(tensor, Tensor):
                continue
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
        return digest.hexdigest()[:32]

    def _state(self) -> dict[str, Any]:
        """Parameters and buffers by name, those that lie on disk between calls among them."""
        if not any(p.device.type == "meta" for p in self.model.parameters()):
            return self.model.state_dict()
        from accelerate.utils.modeling import get_state_dict_offloaded_model

        whole: dict[str, Any] = get_state_dict_offloaded_model(self.model)
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
            modules = [path for path, _ in self.model.named_modules() if path]
            sites = [*self.named_sites.values(), *find_sites(modules, {}, self.model)]
        else:
            sites = self.find(asked)
        rows = [(s.name, s.layer, s.width, s.heads, s.tap.path) for s in sites]
        table = pd.DataFrame(rows, columns=["site", "layer", "width", "heads", "module"])
        return table.astype({"layer": "Int64", "width": "Int64", "heads": "Int64"})

    def find(self, asked: str | Iterable[str]) -> list[Site]:
        """Return the sites that names, globs, aliases or module paths mean.

        Parameters
        ----------
        asked : str or iterable of str
            What is wanted.

        Returns
        -------
        list of Site
            In the order asked, each once.

        Raises
        ------
        UnknownName
            A name means no site.
        """
        return find_sites(asked, self.named_sites, self.model)

    def with_dictionary(self, dictionary: Dictionary, *, name: str | None = None) -> Network:
        """Return a network with one more site, whose units are the features of a dictionary.

        Parameters
        ----------
        dictionary : Dictionary
            Directions at a site.
        name : str, optional
            What the features are called; by default the dictionary's own name.

        Returns
        -------
        Network
            Another, of the same model. With ``name="sae"`` a dictionary at ``blocks.5.resid_post``
            gives the site ``blocks.5.resid_post.sae``; writing there changes the site that is
            decoded to by what the features changed, and keeps what they do not explain.

        Raises
        ------
        NisslError
            The dictionary's sites are several, or already have features of this name.
        """
        from nissl.network.dictionary import with_dictionary

        return with_dictionary(self, dictionary, name=name)

    # Running it

    def run(
        self,
        inputs: Any,
        *,
        sites: str | Iterable[str],
        gradients: bool = False,
        padding: str = "right",
    ) -> dict[str, Tensor]:
        """Run the model once and return the raw tensors of sites.

        Parameters
        ----------
        inputs : text, chat messages, token ids, images, tensor, or mapping of arguments
            All are one batch; texts that fit no window are an error.
        sites : str or iterable of str
            What to return.
        gradients : bool
            Keep the graph, so that the tensors can be differentiated.
        padding : {"right", "left"}
            Where shorter texts are filled up.

        Returns
        -------
        dict of str to Tensor, each shape (batch, place..., unit)
            By full name of the site, edits applied; of a site computed several times in the run,
            shape (batch, call, ...). Padding holds what the model computed there.

        Raises
        ------
        NisslError
            A site never fired.
        """
        from nissl.network.run import run

        return run(self, inputs, sites=sites, gradients=gradients, padding=padding)

    def edit(self, *edits: Any) -> AbstractContextManager[Any]:
        """Apply edits to every run of the model inside a ``with`` block.

        Parameters
        ----------
        *edits : Edit
            Applied in the order given, at the sites each writes.

        Returns
        -------
        context manager
            Restores the model when left, also by an exception.
        """
        from nissl.network.editing import editing

        context: AbstractContextManager[Any] = editing(self, *edits)
        return context

    def generate(
        self,
        prompt: Any,
        *,
        max_new_tokens: int = 20,
        sample: bool = False,
        temperature: float = 1.0,
        seed: int = 0,
        use_cache: bool = True,
        **options: Any,
    ) -> Any:
        """Continue prompts, edits in force while the prompt is read and while it goes on.

        Parameters
        ----------
        prompt : str, chat messages, token ids, or a list of one kind
            What is to be continued; chats through the model's template.
        max_new_tokens : int
            Tokens to generate at most.
        sample : bool
            Draw each token; otherwise the likeliest is taken.
        temperature : float
            Of the draws.
        seed : int
            Of the draws.
        use_cache : bool
            Keep keys and values of what was read; without, every token reads everything again.
        **options
            For ``generate`` of transformers: ``top_p``, ``eos_token_id``, ...

        Returns
        -------
        str, list of str, or list of list of int
            What comes after the prompt: text for a text or chat, texts for several, ids for ids.

        Raises
        ------
        NisslError
            The model does not generate, has no tokenizer for a text, or a prompt is too long.
        """
        from nissl.network.generate import generate

        return generate(
            self,
            prompt,
            max_new_tokens=max_new_tokens,
            sample=sample,
            temperature=temperature,
            seed=seed,
            use_cache=use_cache,
            **options,
        )

    # Its weights

    @property
    def unembedding(self) -> Tensor:
        """Weights from the final norm to the logits, shape (vocabulary, d_model)."""
        head = getattr(self.model, "get_output_embeddings", lambda: None)()
        if head is None or not hasattr(head, "weight"):
            raise NisslError(
                f"{self.name} has no unembedding", do="use a language model with a head"
            )
        weight: Tensor = head.weight
        return weight.detach()

    def output_weights(self, site: str) -> Tensor:
        """Return what each unit of an MLP writes into the residual stream.

        Parameters
        ----------
        site : str
            ``blocks.L.mlp.neurons``.

        Returns
        -------
        Tensor, shape (n_units, d_model)
            Before any norm on the way.

        Raises
        ------
        NisslError
            The site has no such weights.
        """
        return self._matrix(site, "write").detach()

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
        matrices = self.architecture.matrices if self.architecture else None
        if matrices is None or matrices.gate is None:
            return None
        return self._matrix(site, "gate").detach().T

    def block(self, layer: int) -> nn.Module:
        """Return one block.

        Parameters
        ----------
        layer : int
            Its number.

        Returns
        -------
        nn.Module
            The block.

        Raises
        ------
        NisslError
            The model has no such block.
        """
        if self.architecture is None or not 0 <= layer < self.n_layers:
            raise NisslError(
                f"there is no block {layer}", where=self.name, do=f"it has {self.n_layers}"
            )
        blocks: Any = self.body.get_submodule(self.architecture.blocks)
        found: nn.Module = blocks[layer]
        return found

    def _matrix(self, site: str, which: str) -> Tensor:
        """One of an MLP's matrices as (in, out)."""
        (found,) = self.find(site)[:1]
        matrices = self.architecture.matrices if self.architecture else None
        if matrices is None or found.layer is None or not found.name.endswith(".mlp.neurons"):
            raise NisslError(f"no weights are known for the units of '{site}'")
        module: Any = self.block(found.layer).get_submodule(getattr(matrices, which))
        weight: Tensor = module.weight
        # Conv1D of GPT-2 keeps (in, out), Linear (out, in).
        return weight if type(module).__name__ == "Conv1D" else weight.T

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
        >>> Network(nn.Linear(1, 1)).tokens([3, 5])
        ['3', '5']
        """
        if self.tokenizer is None:
            return [str(int(i)) for i in ids]
        return [str(self.tokenizer.decode([int(i)])) for i in np.asarray(list(ids))]
