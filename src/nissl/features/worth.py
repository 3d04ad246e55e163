"""What a dictionary is worth: what it explains, how sparsely, and what the network makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nissl.behaviour.losses import losses
from nissl.errors import NisslError
from nissl.features.dictionary import TrainedDictionary
from nissl.network import Dictionary, LinearDictionary, clamp
from nissl.network.run.windows import windows_of
from nissl.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["Spliced", "worth"]


@torch.no_grad()
def worth(
    dictionaries: Dictionary | Mapping[str, Dictionary],
    net: Network,
    texts: Any,
    *,
    window: int | None = None,
    batch_size: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure dictionaries of one site on texts that they were not trained on, beside chance.

    Parameters
    ----------
    dictionaries : Dictionary, or mapping of str to Dictionary
        All of the same sites.
    net : Network
        The language model.
    texts : texts or token ids
        Held out.
    window : int, optional
        Tokens of a window of a long text, as in `nissl.record`.
    batch_size : int
        Windows in a call.
    seed : int
        Of the random dictionary.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        A row for each dictionary; for "random", the first weights of the first that was trained
        here, which know nothing; and for "PCA", as many components of these texts as the first has
        features active. ``explained``: the share of the variance; ``explained_later`` without the
        first token of each window; ``active``: features of a token; ``dead``: the share of features
        that are never active here; ``loss``, in nats, with what is rebuilt in place of the site;
        ``recovered``: 0 as with the mean in its place, 1 as untouched. With the error added back
        any dictionary recovers all: that says nothing, and is no column.

    Raises
    ------
    NisslError
        The dictionaries are of several sites.

    Notes
    -----
    Source: Cunningham et al. 2023; Rajamanoharan et al. 2024 (loss recovered against the mean).

    Examples
    --------
    >>> worth({"topk": found}, net, texts[1000:])  # doctest: +SKIP
    """
    import pandas as pd

    given: dict[str, Any] = {"dictionary": dictionaries}
    if isinstance(dictionaries, Mapping):
        given = dict(dictionaries)
    first = next(iter(given.values()))
    into, out = (net.find(site)[0].name for site in (first.site_in, first.site_out))
    for name, one in given.items():
        if (net.find(one.site_in)[0].name, net.find(one.site_out)[0].name) != (into, out):
            raise NisslError(f"'{name}' is of other sites than the first", do="ask once for each")
    ids = windows_of(net, texts, window=window).ids
    x, y, begins = _activity(net, [into, out], ids, batch_size, progress)
    active = float((first.encode(x[:4096]) > 0).float().sum(-1).mean())
    given |= _beside(first, x, y, into, out, round(active), seed)
    mean = y.mean(0)
    how: Any = {"window": window, "batch_size": batch_size, "progress": False}
    clean = losses(net, texts, **how).mean()
    with net.edit(clamp(sites=out, to=mean)):
        nothing = losses(net, texts, **how).mean()
    rows = []
    for name, one in given.items():
        off, n_active, ever = torch.zeros(len(x)), 0.0, torch.zeros(int(one.n_features)).bool()
        for start in range(0, len(x), 4096):
            part = slice(start, start + 4096)
            features = one.encode(x[part])
            off[part] = (y[part] - one.decode(features)).square().sum(-1)
            n_active += float((features != 0).sum())
            ever |= (features != 0).any(0)
        spread = (y - mean).square().sum(-1)
        with net.edit(Spliced(one, into, out)):
            loss = losses(net, texts, **how).mean()
        rows.append(
            {
                "dictionary": name,
                "explained": 1 - float(off.sum() / spread.sum()),
                "explained_later": 1 - float(off[~begins].sum() / spread[~begins].sum()),
                "active": n_active / len(x),
                "dead": 1 - float(ever.float().mean()),
                "loss": float(loss),
                "recovered": float((nothing - loss) / (nothing - clean)),
            }
        )
    table = pd.DataFrame(rows)
    table.attrs = {"loss": float(clean), "loss_with_mean": float(nothing)}
    return table


class Spliced:
    """An edit that puts what a dictionary rebuilds in place of its site.

    Parameters
    ----------
    dictionary : Dictionary
        The dictionary.
    into, out : str
        Full names of its sites.
    """

    def __init__(self, dictionary: Dictionary, into: str, out: str) -> None:
        self.dictionary, self.into, self.out = dictionary, into, out
        self.reads, self.writes = (() if into == out else (into,)), (out,)
        self.read: Tensor | None = None

    def begin(self, batch: Any) -> None:
        """Begin a prompt: nothing is read yet."""
        self.read = None

    def apply(self, site: str, x: Tensor, positions: Any, phase: Any) -> Tensor | None:
        """Read the one site, and write the other: see `nissl.network.Edit`."""
        if site == self.into:
            self.read = x
        if site != self.out or self.read is None:
            return None
        with torch.no_grad():
            return self.dictionary.decode(self.dictionary.encode(self.read)).to(x)


def _activity(
    net: Network, sites: list[str], ids: Any, batch_size: int, progress: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return activity of two sites at every token, and whether it is the first of its window."""
    parts: list[list[Tensor]] = [[], [], []]
    title = f"Reading {sites[0]}"
    with progress_bar(title, total=len(ids), unit="windows", progress=progress) as advance:
        for start in range(0, len(ids), batch_size):
            some = [np.asarray(row) for row in ids[start : start + batch_size]]
            with torch.inference_mode():
                seen = net.run([row.tolist() for row in some], sites=list(dict.fromkeys(sites)))
            for number, row in enumerate(some):
                for part, site in zip(parts, sites, strict=False):
                    part.append(seen[site][number, : len(row)].float().cpu().clone())
                parts[2].append(torch.arange(len(row)) == 0)
            advance(len(some))
    x, y, begins = (torch.cat(part) for part in parts)
    return x, y, begins


def _beside(
    first: Dictionary, x: Tensor, y: Tensor, into: str, out: str, n: int, seed: int
) -> dict[str, Any]:
    """Return the dictionaries that the first is set beside."""
    made: dict[str, Any] = {}
    if isinstance(first, TrainedDictionary):
        made["random"] = TrainedDictionary(
            first.kind,
            first.n_features,
            x.shape[1],
            site_in=into,
            site_out=out,
            width_out=y.shape[1],
            transcodes=first.transcodes,
            seed=seed + 1,
        ).eval()
        with torch.no_grad():
            made["random"].scale.copy_(first.scale)
            made["random"].scale_out.copy_(first.scale_out)
            made["random"].b_dec.copy_(first.b_dec)
    if into == out and 0 < n < x.shape[1]:
        mean = x.mean(0)
        rows = torch.linalg.svd(x[:20_000] - mean, full_matrices=False).Vh[:n]
        made["PCA"] = LinearDictionary(
            into, rows.T.contiguous(), torch.zeros(n), rows, mean, activation=lambda x: x
        )
    return made
