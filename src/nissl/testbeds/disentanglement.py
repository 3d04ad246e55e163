"""Disentanglement: features that change one attribute of an entity, and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nissl.behaviour import first_tokens, token_ids
from nissl.columns import require_columns
from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.methods import method
from nissl.network import Dictionary, Network, frozen
from nissl.network.run.calls import call_model, sequence_call
from nissl.training import train

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["disentanglement", "mdas"]

BATCH, STEP = 8, 0.2  # pairs of a kind, and the learning rate as a share of a weight's size


@method(system=169)
def disentanglement(
    net: Network,
    items: pd.DataFrame,
    features: Mapping[str, Tensor | tuple[Dictionary, Any]],
    *,
    site: str,
    position: int = -2,
    n_pairs: int = 32,
    seed: int = 0,
) -> pd.DataFrame:
    """Exchange the features of an attribute between entities, and see which answers change.

    Parameters
    ----------
    net : Network
        A language model.
    items : DataFrame
        Prompts that it answers rightly: ``text``, ``answer``, ``attribute`` and ``entity``.
    features : mapping of attribute to Tensor, shape (n_directions, n_units), or (Dictionary, ints)
        What holds it: directions that span a subspace, or features, whose error stays.
    site, position : str, int
        Where they are exchanged: at the entity's last token, counted from the end.
    n_pairs, seed : int
        Pairs of entities whose answers differ, of each attribute that is asked for.

    Returns
    -------
    DataFrame
        A row for each of `features`. ``cause``: the share of prompts for this attribute that are
        answered as of the other entity; ``isolation``: of prompts for others, as before (the mean
        over these); ``score``: the mean of both, 0.5 where nothing is exchanged or everything.

    Raises
    ------
    NisslError
        There is one attribute, or in one of them no two entities differ.

    Notes
    -----
    The answer is the likeliest token; the other entity is read in the same prompt. Source: Huang et
    al. 2024, RAVEL, section 3.

    Examples
    --------
    >>> disentanglement(net, items, found, site="blocks.15.resid_post")  # doctest: +SKIP
    """
    import pandas as pd

    pairs = _Pairs(net, items, site, position, features)
    rng, rows = np.random.default_rng(seed), []
    drawn = {name: pairs.draw(name, n_pairs, rng) for name in pairs.pairs}
    for own, what in features.items():
        share = {}
        for name, (base, other) in drawn.items():
            with torch.no_grad():
                said = pairs.logits(base, other, what).argmax(-1).cpu()
            right = said == pairs.answer[other if name == own else base]
            share[name] = float(right.double().mean())
        cause, isolation = share.pop(own), float(np.mean([*share.values()]))
        rows.append((own, cause, isolation, (cause + isolation) / 2))
    return pd.DataFrame(rows, columns=["attribute", "cause", "isolation", "score"])


@method(system=169)
def mdas(
    net: Network,
    items: pd.DataFrame,
    attribute: str,
    *,
    site: str,
    position: int = -2,
    rank: int = 16,
    steps: int = 100,
    seed: int = 0,
) -> Tensor:
    """Learn the subspace that holds an attribute and no other: multi-task DAS.

    Parameters
    ----------
    net, items, site, position
        As in `disentanglement`, of other entities than are tested.
    attribute : str
        Which.
    rank, steps, seed : int
        Directions; updates, each of eight pairs that ask for the attribute and eight that ask for
        others; seed of both.

    Returns
    -------
    Tensor, shape (rank, n_units)
        Orthonormal.

    Raises
    ------
    NisslError
        As in `disentanglement`.

    Notes
    -----
    The loss is the cross entropy of the answer that is wanted: the other entity's, or one's own.
    Source: Huang et al. 2024, RAVEL, section 4.

    Examples
    --------
    >>> found = mdas(net, learn, "capital", site="blocks.15.resid_post")  # doctest: +SKIP
    """
    pairs = _Pairs(net, items, site, position, [attribute])
    others = [name for name in pairs.pairs if name != attribute]

    def batch(step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([seed, step])
        names = [attribute] * BATCH + [str(name) for name in rng.choice(others, BATCH)]
        base, other = np.concatenate([pairs.draw(name, 1, rng) for name in names], 1)
        wanted = np.where(np.arange(2 * BATCH) < BATCH, other, base)
        return tuple(map(torch.from_numpy, (base, other, wanted)))

    def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        base, other, wanted = (rows.cpu() for rows in batch)
        with frozen(net):
            logits = pairs.logits(base, other, model.weight)
        return nn.functional.cross_entropy(logits.float(), pairs.answer[wanted].to(logits.device))

    width = pairs.source.shape[1]
    model, drawn = nn.Linear(width, rank, bias=False), torch.Generator().manual_seed(seed)
    nn.init.orthogonal_(model.weight, generator=drawn)
    how: Any = {"schedule": "linear", "seed": seed, "key": attribute, "progress": False}
    train(model, batch, loss=loss, steps=steps, learning_rate=STEP / width**0.5, **how)
    basis: Tensor = torch.linalg.qr(model.weight.detach().T)[0]
    return basis.T.contiguous()


class _Pairs:
    """Pairs of prompts, and what is answered under an exchange: it is its own edit."""

    reads = ()

    def __init__(
        self, net: Network, items: pd.DataFrame, site: str, position: int, wanted: Iterable[str]
    ) -> None:
        require_columns(items, ("text", "answer", "attribute", "entity"))
        self.net, self.ids = net, token_ids(net, list(items["text"]))
        self.answer = torch.from_numpy(first_tokens(net, list(items["answer"])))
        self.at = torch.tensor([len(row) + position for row in self.ids])
        (self.site,) = self.writes = tuple(found.name for found in net.find(site))
        self.pairs: dict[str, Any] = {}
        attribute, entity = (items[name].to_numpy() for name in ("attribute", "entity"))
        for name in dict.fromkeys(attribute.tolist()):
            rows = np.flatnonzero(attribute == name)
            answer = self.answer[rows].numpy()
            differ = (entity[rows][:, None] != entity[rows]) & (answer[:, None] != answer)
            if not differ.any():
                raise TooFewSamples(f"no two entities differ in '{name}'", do="give more items")
            self.pairs[name] = rows[np.argwhere(differ)]
        for name in wanted:
            require_known("attribute", name, list(self.pairs))
        if len(self.pairs) < 2:
            raise NisslError("there is one attribute", do="give others, which are to stay")
        parts = []
        for rows in torch.arange(len(self.ids)).split(32):
            with torch.no_grad():
                seen = net.run([self.ids[i] for i in rows], sites=self.site)[self.site]
            parts.append(seen[range(len(rows)), self.at[rows]])
        self.source = torch.cat(parts)

    def draw(self, name: str, n: int, rng: np.random.Generator) -> Any:
        """Return prompts, and those of other entities that ask the same."""
        return self.pairs[name][rng.choice(len(self.pairs[name]), n)].T

    def logits(self, base: Any, other: Any, what: Any) -> Tensor:
        """Return what is said after prompts, with the features of others."""
        ids = [self.ids[i] for i in base]
        self.now = self.at[base], self.source[other], what
        with self.net.edit(self):
            found: Tensor = call_model(self.net, sequence_call(self.net, ids)).logits
        return found[range(len(ids)), [len(row) - 1 for row in ids]]

    def begin(self, batch: Any) -> None:
        """Begin a prompt."""

    def apply(self, site: str, x: Tensor, positions: Any, phase: Any) -> Tensor:
        """Exchange features at one token of each prompt: see `nissl.network.Edit`."""
        at, source, what = self.now
        rows = torch.arange(len(x), device=x.device), at.to(x.device)
        old, new = x[rows], source.to(x)
        if isinstance(what, Tensor):
            basis = torch.linalg.qr(what.T.float())[0].to(x)
            return x.index_put(rows, old + (new - old) @ basis @ basis.T)
        dictionary, chosen = what
        before, after = dictionary.encode(old), dictionary.encode(new)
        mixed = before.clone()
        mixed[:, chosen] = after[:, chosen]
        return x.index_put(rows, old + dictionary.decode(mixed) - dictionary.decode(before))
