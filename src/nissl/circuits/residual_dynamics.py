"""The residual stream as a dynamical system whose time is depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import normalize

from nissl.behaviour import token_ids
from nissl.behaviour.patching import at_position
from nissl.errors import NisslError
from nissl.methods import method
from nissl.network.edits.patch import patch
from nissl.progress import progress_bar
from nissl.statistics import Finding, Test, against_null

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["residual_dynamics"]


@method(system=201)
def residual_dynamics(
    net: Network,
    texts: Any,
    *,
    sites: str | Iterable[str] = "blocks.*.resid_post",
    push: float = 0.5,
    after: int = 4,
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Follow the stream at the last token of texts through depth, and push it off its path.

    Parameters
    ----------
    net : Network
        A network that reads tokens.
    texts : texts or token ids
        Run as one batch.
    sites : str or iterable of str
        Places in the stream, in their order.
    push : float
        Length of the random direction that is added at the last token, as a share of the stream's.
    after : int
        How many sites later, at most at the last, it is asked what is left of it.
    test : Test
        Draws (999), tail, correction over sites, seed. The null: units of the next site are
        shuffled among themselves.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        A row for each site but the last, means over texts. ``continuity``: a unit's correlation
        over texts with itself at the next site, the mean over units; ``velocity``: the length of
        the step to it; ``density``: the share of units that are active, (mean abs)^2 / mean square.
        Of a push there: ``remaining``, the distance from the path later over the length of the push
        (below 1 it recovers, 1 where no block answers, above 1 it grows); ``along``, its part in
        the direction of the push; ``growth``, that of the stream itself.

    Raises
    ------
    NisslError
        Fewer than two sites or eight texts, or `push` or `after` is not above zero.

    Notes
    -----
    Source: Fernando and Guitchounts 2025, who push within two principal components. Residual
    networks are continuous without training: set a `ReinitialisedNetwork` beside.

    Examples
    --------
    >>> residual_dynamics(net, texts).plot("curve", by="layer")  # doctest: +SKIP
    """
    import pandas as pd

    ids = [row.tolist() for row in token_ids(net, texts)]
    found, lengths = net.find(sites), [len(row) for row in ids]
    names = [site.name for site in found]
    if len(names) < 2 or len(ids) < 8 or push <= 0 or after < 1:
        has = f"{len(names)} sites, {len(ids)} texts, a push of {push} seen {after} sites later"
        raise NisslError(has, do="give at least 2 sites, 8 texts, a push above zero and after=1")
    rng, n = np.random.default_rng(test.seed), test.draws(999)
    with torch.inference_mode():
        path = net.run(ids, sites=names)
    x = torch.stack([at_position(path[name], -1, lengths).double().cpu() for name in names])
    norm, rows, observed, draws = x.norm(dim=-1), [], [], []
    end = torch.arange(len(ids)), torch.tensor(lengths) - 1
    z = normalize(x - x.mean(1, keepdim=True), dim=1)
    with progress_bar("Pushes", total=len(names) - 1, unit="sites", progress=progress) as advance:
        for i, site in enumerate(found[:-1]):
            later, size = min(i + after, len(names) - 1), push * norm[i]
            by = normalize(torch.from_numpy(rng.standard_normal(x[i].shape))) * size[:, None]
            pushed = path[site.name].index_put(end, by.to(path[site.name]), accumulate=True)
            with torch.inference_mode(), net.edit(patch({site.name: pushed}, positions=-1)):
                seen = net.run(ids, sites=names[later])[names[later]]
            moved = at_position(seen, -1, lengths).double().cpu() - x[later]
            r = (z[i].T @ z[i + 1]).numpy()
            observed.append(r.diagonal().mean())
            draws.append([r[np.arange(len(r)), rng.permutation(len(r))].mean() for _ in range(n)])
            each = {
                "velocity": (x[i + 1] - x[i]).norm(dim=-1),
                "density": x[i].abs().mean(-1) ** 2 / x[i].square().mean(-1),
                "remaining": moved.norm(dim=-1) / size,
                "along": (moved * by).sum(-1) / size**2,
                "growth": norm[later] / norm[i],
            }
            row = {name: float(values.mean()) for name, values in each.items()}
            rows.append({"unit": site.name, "layer": site.layer, **row})
            advance(1)
    how: Any = {"score": "continuity", "alternative": "greater", "test": test}
    how |= {"method": "residual_dynamics", "null": "units shuffled among themselves"}
    return against_null(observed, np.transpose(draws), units=pd.DataFrame(rows), **how)
