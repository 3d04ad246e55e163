"""The Network: a model with named sites, and the verbs that run, edit and explain it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from nissl.network.sites.base import BaseNetwork

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from nissl.network.edits.edit import EditsLike
    from nissl.network.gradients.synthesise import Synthesis
    from nissl.network.record.unit_examples import UnitExamples
    from nissl.network.run.logit_lens import LogitLens
    from nissl.network.sites.dictionary import Dictionary

__all__ = ["Network"]


class Network(BaseNetwork):
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
    >>> import torch
    >>> from torch import nn
    >>> net = Network(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), name="tiny")
    >>> {site: tuple(x.shape) for site, x in net.run(torch.zeros(5, 4), sites=["1", "2"]).items()}
    {'1': (5, 3), '2': (5, 2)}
    """

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
        from nissl.network.sites.dictionary import with_dictionary

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
        from nissl.network.run.forward import run

        return run(self, inputs, sites=sites, gradients=gradients, padding=padding)

    def logit_lens(
        self,
        inputs: Any,
        *,
        sites: str | Iterable[str] = "blocks.*.resid_post",
        positions: int | slice | Sequence[int] | None = None,
        answers: Sequence[str | int] = (),
    ) -> LogitLens:
        """Read the residual stream as if it were the last.

        Parameters
        ----------
        inputs : text, texts, chats or token ids
            What it reads.
        sites : str or iterable of str
            Places in the residual stream.
        positions : int, slice or sequence of int, optional
            Where; negative ones count from the end. By default everywhere.
        answers : sequence of str or int
            Tokens whose log probability and rank are wanted.

        Returns
        -------
        LogitLens
            Tables, and ``plot``.

        Raises
        ------
        NisslError
            A site is not in the residual stream, or an answer is not one token.
        """
        from nissl.network.run.logit_lens import logit_lens

        return logit_lens(self, inputs, sites=sites, positions=positions, answers=answers)

    def unit_examples(self, unit: str, inputs: Any, **options: Any) -> UnitExamples:
        """Find where texts move a unit most, with the words around.

        Parameters
        ----------
        unit : str
            Its address.
        inputs : texts, token ids or DataFrame
            What is read.
        **options
            Of `nissl.network.unit_examples`: ``n``, ``between``, ``seed``, ...

        Returns
        -------
        UnitExamples
            A table, and ``plot``.
        """
        from nissl.network.record.unit_examples import unit_examples

        return unit_examples(self, unit, inputs, **options)

    def synthesise(self, objective: Any, *, start: Any, **options: Any) -> Synthesis:
        """Synthesise inputs that drive units most, by gradient ascent.

        Parameters
        ----------
        objective : str, pair, or list of them
            Addresses of units; or (site, direction or function).
        start : tuple of int, or array, shape (n, ...)
            The shape of one input, or where to begin.
        **options
            Of `nissl.network.gradients.synthesise`: ``generator``, ``ascent``, ``natural``, ...

        Returns
        -------
        Synthesis
            Stimuli, the activity that they reach, and ``plot``.
        """
        from nissl.network.gradients.synthesise import synthesise

        return synthesise(self, objective, start=start, **options)

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
        from nissl.network.edits.editing import editing

        context: AbstractContextManager[Any] = editing(self, *edits)
        return context

    def edit_batch(self, edits: Iterable[EditsLike]) -> AbstractContextManager[None]:
        """Run copies of the batch in one call, each under its own edits.

        A call inside the block answers for every copy: with ``edit_batch([a, [b, c], None])`` the
        logits have three times as many rows, all rows of the batch under the first edit first.
        Positions and items of an edit count within its copy. `generate` gives as many answers.

        Parameters
        ----------
        edits : iterable of Edit, lists of Edit, or None
            For each copy one edit, several in their order, or none.

        Returns
        -------
        context manager
            Restores the model when left, also by an exception.

        Raises
        ------
        NisslError
            On entering: there is no copy, an edit changes weights, or other edits are in force.
            Inside: other edits are entered.
        """
        from nissl.network.edits.batched import edit_batch

        return edit_batch(self, edits)

    def backward(self, *rules: Any) -> AbstractContextManager[Any]:
        """Send gradients back by rules inside a ``with`` block; outputs stay what they are.

        Parameters
        ----------
        *rules : NormRule, NonlinearityRule, ProductRule, AttentionRule, StopGradient
            Where several hold for a part, the last does. What no rule holds for has autograd's
            gradient; a part of a kind that a rule claims but does not understand is an error.

        Returns
        -------
        context manager
            Restores the model when left, also by an exception.
        """
        from nissl.network.gradients.backward import backward

        context: AbstractContextManager[Any] = backward(self, *rules)
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
        from nissl.network.run.generate import generate

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
