"""What a dictionary is worth: what it explains, how sparsely, and what the network makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nissl.behaviour.losses import Predicted
from nissl.behaviour.prefix_sharing import chunked
from nissl.errors import NisslError
from nissl.features.dictionary import TrainedDictionary
from nissl.network import Dictionary, LinearDictionary, Restart, patch, restart
from nissl.network.run.calls import sequence_call
from nissl.network.run.replay import replaying
from nissl.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network import Network

__all__ = ["worth"]


@torch.inference_mode()
def worth(
    dictionaries: Dictionary | Mapping[str, Dictionary | Sequence[Dictionary]],
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
    dictionaries : Dictionary, or mapping of str to Dictionary or to several
        All of the same sites; several under one name are trainings with other seeds.
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
        A row for each name, of means over its seeds. Beside them: "random", the first weights of
        the first that was trained here, which know nothing; and, with as many features active as
        the first has, "PCA", components of these texts, and "neurons", in each token the units that
        are farthest from their mean. ``explained``: the share of the variance; ``explained_later``
        without the first token of each window; ``active``: features of a token; ``dead``: the share
        of features that are never active here; ``loss``, in nats, with what is rebuilt in place of
        the site; ``recovered``: 0 as with the mean in its place, 1 as untouched. With the error
        added back any dictionary recovers all: that says nothing, and is no column.
        ``explained_spread``, ``recovered_spread``: the largest less the smallest over seeds, NaN of
        one. ``above``: the rows over which it recovers more by more than the spread of either;
        smaller differences are none, and between rows of one seed each nothing is said.

    Raises
    ------
    NisslError
        The dictionaries are of several sites, or a name has none.

    Notes
    -----
    Source: Cunningham et al. 2023; Rajamanoharan et al. 2024 (loss recovered against the mean).
    What comes before the site is run once.

    Examples
    --------
    >>> worth({"topk": [one, two, three], "relu": other}, net, texts)  # doctest: +SKIP
    """
    import pandas as pd

    named = dictionaries if isinstance(dictionaries, Mapping) else {"dictionary": dictionaries}
    given = [(n, one) for n, d in named.items() for one in (d if isinstance(d, Sequence) else [d])]
    if not given or {name for name, _ in given} != {*named}:
        raise NisslError("no dictionary, or none under a name", do="give one or more for each")
    first = given[0][1]
    into, out = (net.find(site)[0].name for site in (first.site_in, first.site_out))
    for name, one in given:
        if (net.find(one.site_in)[0].name, net.find(one.site_out)[0].name) != (into, out):
            raise NisslError(f"'{name}' is of other sites than the first", do="ask once for each")
    read = Predicted(net, texts, window=window)
    batches = []
    title = f"Reading {into}"
    with progress_bar(title, total=len(read.order), unit="windows", progress=progress) as advance:
        for some in chunked(len(read.order), batch_size):
            batches.append(_begun(read, read.order[some], into, out))
            advance(len(some))
    x = torch.cat([batch.x for batch in batches])
    mean = torch.cat([batch.y for batch in batches]).mean(0)
    active = float((first.encode(x[:: len(x) // 4096 + 1]) > 0).float().sum(-1).mean())
    given += _beside(first, x[:: len(x) // 20_000 + 1], mean, into, out, round(active), seed)
    clean, nothing = (
        sum(_lost(read, batch, out, put).mean() for batch in batches) for put in (None, mean)
    )
    rows = []
    title = "Judging dictionaries"
    with progress_bar(title, total=len(given), unit="dictionaries", progress=progress) as advance:
        for name, one in given:
            row = _judged(one, read, batches, out, mean)
            recovered = (nothing - row["loss"]) / (nothing - clean)
            rows.append({"dictionary": name, **row, "recovered": recovered})
            advance(1)
    seeds = pd.DataFrame(rows).groupby("dictionary", sort=False)
    table = seeds.mean()
    for score in ("explained", "recovered"):
        spread = seeds[score].max() - seeds[score].min()
        table[f"{score}_spread"] = spread.where(seeds.size() > 1)
    at, of = table["recovered"].to_numpy(), table["recovered_spread"].to_numpy()
    more = at[:, None] - at > np.fmax(of[:, None], of)  # never where both are NaN
    table["above"] = [", ".join(table.index[row]) for row in more]
    table = table.reset_index()
    table.attrs = {"loss": float(clean), "loss_with_mean": float(nothing)}
    return table


class _Batch(NamedTuple):
    """Activity of real tokens, whether each begins its window; and the run, up to the site."""

    x: Tensor
    y: Tensor
    begins: Tensor
    rows: NDArray[Any]
    again: Restart
    whole: Tensor


def _begun(read: Predicted, rows: NDArray[Any], into: str, out: str) -> _Batch:
    """Run windows up to the site."""
    call = sequence_call(read.net, [read.windows.ids[row] for row in rows])
    again = restart(read.net, call, at=into)
    whole = again.values
    if into != out:
        with _resumed(again):
            whole = read.net.run(call, sites=out)[out]
    real: Any = call.mask
    x, y = (values[real].float().cpu() for values in (again.values, whole))
    return _Batch(x, y, real.nonzero()[:, 1].cpu() == 0, rows, again, whole)


def _resumed(again: Restart) -> Any:
    """Go on from the site, unless edits are in force, which may lie before it."""
    return nullcontext() if again.net.editing else replaying(again.prefix)


def _lost(read: Predicted, batch: _Batch, out: str, put: Tensor | None) -> NDArray[Any]:
    """Return what windows add to the mean loss of each text, with other activity at a site."""
    edits = []
    if put is not None:
        new = batch.whole.clone()
        new[batch.again.call.mask] = put.to(new)
        edits.append(patch({out: new}))
    total = np.zeros(read.n_texts)
    with _resumed(batch.again), read.net.edit(*edits):
        document, lost = read.read(batch.rows)
    np.add.at(total, document, lost[0])
    return np.asarray(total / read.counts)


def _judged(
    one: Dictionary, read: Predicted, batches: list[_Batch], out: str, mean: Tensor
) -> dict[str, float]:
    """Return what a dictionary explains, with how many features, and the loss with it."""
    sums, loss, ever = np.zeros(5), np.zeros(read.n_texts), torch.zeros(one.n_features).bool()
    for batch in batches:
        features = one.encode(batch.x)
        put, on = one.decode(features), features != 0
        off, all = ((batch.y - other).square().sum(-1) for other in (put, mean))
        each = (off, all, off[~batch.begins], all[~batch.begins], on)
        sums += [float(x.double().sum()) for x in each]
        ever |= on.any(0)
        loss += _lost(read, batch, out, put)
    return {
        "explained": 1 - sums[0] / sums[1],
        "explained_later": 1 - sums[2] / sums[3],
        "active": sums[4] / sum(len(batch.x) for batch in batches),
        "dead": 1 - float(ever.float().mean()),
        "loss": float(loss.mean()),
    }


def _beside(
    first: Dictionary, x: Tensor, mean: Tensor, into: str, out: str, n: int, seed: int
) -> list[tuple[str, Dictionary]]:
    """Return the dictionaries that the first is set beside."""
    made: list[tuple[str, Dictionary]] = []
    width = x.shape[1]
    if isinstance(first, TrainedDictionary):
        how: Any = {"site_in": into, "site_out": out, "width_out": len(mean), "seed": seed + 1}
        how["transcodes"] = first.transcodes
        random = TrainedDictionary(first.kind, first.n_features, width, **how).eval()
        for name in ("scale", "scale_out", "b_dec"):
            getattr(random, name).copy_(getattr(first, name))
        made.append(("random", random))
    if into == out and 0 < n < width:
        rows = torch.linalg.svd(x - mean, full_matrices=False).Vh[:n]
        eye = torch.eye(width)

        def largest(x: Tensor) -> Tensor:
            kept = x.abs().topk(n, dim=-1).indices
            return torch.zeros_like(x).scatter(-1, kept, x.gather(-1, kept))

        for name, enc, act in (("PCA", rows, lambda x: x), ("neurons", eye, largest)):
            zero = torch.zeros(len(enc))
            made.append((name, LinearDictionary(into, enc.T, zero, enc, mean, activation=act)))
    return made
