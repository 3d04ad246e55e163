"""What a dictionary is worth: what it explains, how sparsely, and what the network makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nissl.behaviour.losses import Predicted
from nissl.behaviour.prefix_sharing import chunked
from nissl.errors import NisslError
from nissl.features.absorption import absorption
from nissl.features.dictionary import TrainedDictionary
from nissl.network import Dictionary, LinearDictionary, patch, restart
from nissl.network.run.calls import sequence_call
from nissl.network.run.replay import replaying
from nissl.progress import progress_bar
from nissl.statistics import sparse_probing

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
    probes: bool = False,
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
    window, batch_size : int, optional
        Tokens of a window of a long text, as in `nissl.record`; windows in a call.
    probes : bool
        Read from features what tokens are, in some seconds for each dictionary.
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

        With `probes`, on one sample of each token type: ``probed``, how well one feature tells
        first letters of words, capitals and digits in types that it was not chosen on (mean AUROC
        of `sparse_probing`); ``control``, the same of permuted labels; ``absorbed``, the mean
        `absorption` of first letters, NaN where features are negative and of transcoders.

    Raises
    ------
    NisslError
        The dictionaries are of several sites, or a name has none; texts are too few for `probes`.

    Notes
    -----
    Source: Cunningham et al. 2023; Rajamanoharan et al. 2024 (loss). Runs begin at the site.

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
    read, batches = Predicted(net, texts, window=window), []
    n = len(read.order)
    with progress_bar(f"Reading {into}", total=n, unit="windows", progress=progress) as advance:
        for some in chunked(n, batch_size):
            batches.append(_Batch(read, read.order[some], into, out))
            advance(len(some))
    x = torch.cat([batch.x for batch in batches])
    mean = torch.cat([batch.y for batch in batches]).mean(0)
    active = float((first.encode(x[:: len(x) // 4096 + 1]) > 0).float().sum(-1).mean())
    given += _beside(first, x[:: len(x) // 20_000 + 1], mean, round(active), seed)
    clean, nothing = (sum(b.lost(put) for b in batches) for put in (None, mean))
    tasks, rows = [*_tasks(batches)] if probes else [], []
    with progress_bar("Judging", total=len(given), unit="rows", progress=progress) as advance:
        for name, one in given:
            row = _judged(one, batches, mean)
            row["recovered"] = (nothing - row["loss"]) / (nothing - clean)
            rows.append({"dictionary": name, **row, **(_probed(one, tasks) if tasks else {})})
            advance(1)
    seeds = pd.DataFrame(rows).groupby("dictionary", sort=False)
    table = seeds.mean()
    for score in ("explained", "recovered"):
        table[f"{score}_spread"] = seeds[score].agg(np.ptp).where(seeds.size() > 1)
    at, of = table[["recovered", "recovered_spread"]].to_numpy().T
    more = at[:, None] - at > np.fmax(of[:, None], of)  # never where both are NaN
    table["above"] = [", ".join(table.index[row]) for row in more]
    table = table.reset_index()
    table.attrs = {"loss": float(clean), "loss_with_mean": float(nothing)}
    return table


class _Batch:
    """Windows, run up to the site: activity of their tokens, and their loss from there on."""

    def __init__(self, read: Predicted, rows: NDArray[Any], into: str, out: str) -> None:
        call: Any = sequence_call(read.net, [read.windows.ids[row] for row in rows])
        self.read, self.rows, self.out, self.real = read, rows, out, call.mask
        self.again = restart(read.net, call, at=into)
        self.whole = self.again.values
        if into != out:
            with self.resumed():
                self.whole = read.net.run(call, sites=out)[out]
        self.x, self.y = (v[self.real].float().cpu() for v in (self.again.values, self.whole))
        self.later = (self.real.cumsum(1) > 1)[self.real].cpu()

    def resumed(self) -> Any:
        """Go on from the site, unless edits are in force, which may lie before it."""
        return nullcontext() if self.read.net.editing else replaying(self.again.prefix)

    def lost(self, put: Tensor | None) -> float:
        """Return what is added to the mean loss of texts, with other activity at the site."""
        edits = []
        if put is not None:
            new = self.whole.clone()
            new[self.real] = put.to(new)
            edits.append(patch({self.out: new}))
        with self.resumed(), self.read.net.edit(*edits):
            document, lost = self.read.read(self.rows)
        return float((lost[0] / self.read.counts[document]).sum() / self.read.n_texts)


def _judged(one: Dictionary, batches: list[_Batch], mean: Tensor) -> dict[str, Any]:
    """Return what a dictionary explains, with how many features, and the loss with it."""
    sums, loss, ever = np.zeros(6), 0.0, torch.zeros(one.n_features).bool()
    for batch in batches:
        features = one.encode(batch.x)
        put, on = one.decode(features), features != 0
        off, all = ((batch.y - other).square().sum(-1) for other in (put, mean))
        each = (off, all, off[batch.later], all[batch.later], on, torch.ones(len(on)))
        sums += [float(x.double().sum()) for x in each]
        ever |= on.any(0)
        loss += batch.lost(put)
    explained, later = 1 - sums[[0, 2]] / sums[[1, 3]]
    about = {"active": sums[4] / sums[5], "dead": 1 - float(ever.float().mean()), "loss": loss}
    return {"explained": explained, "explained_later": later, **about}


def _tasks(batches: list[_Batch]) -> Iterator[tuple[Tensor, NDArray[Any]]]:
    """Yield activity at one token of each type, and labels: first letters, capitals, digits."""
    read, later = batches[0].read, torch.cat([batch.later for batch in batches])
    tokens = np.concatenate([read.windows.ids[row] for row in read.order])
    types, rows = np.unique(tokens[later.numpy()], return_index=True)
    x, tokenizer = torch.cat([batch.x for batch in batches])[later][rows], read.net.tokenizer
    if tokenizer is None:
        raise NisslError("there is no tokenizer that says what tokens are", do="leave probes out")
    names = [str(name) for name in tokenizer.convert_ids_to_tokens(types.tolist())]
    word = np.array([name[:1] in "Ġ▁" and name[1:].isalpha() for name in names])  # begins one
    letters = np.array([name[1:2].lower() for name in names])
    rare = [letter for letter, n in Counter(letters[word]).items() if n < 10]
    yield x[word], np.where(np.isin(letters, rare), "", letters)[word]
    yield x[word], np.array([name[1:2].isupper() for name in names])[word]
    yield x, np.array([any(map(str.isdigit, name)) for name in names])


def _probed(one: Dictionary, tasks: list[tuple[Tensor, NDArray[Any]]]) -> dict[str, Any]:
    """Return how well labels are read from one feature, beside permuted ones; and absorption."""
    said, absorbed = [], []
    for x, labels in tasks:
        found = sparse_probing({"": one.encode(x).numpy()}, labels, groups=np.arange(len(x)), k=[1])
        said += found.table.query("label != ''")[["auroc", "null_mean"]].to_numpy().tolist()
    x, letters = tasks[0]
    for letter in {*letters} - {""} if (one.encode(x) >= 0).all() else ():
        with suppress(NisslError):  # where the units themselves do not tell the letter
            half = np.arange(len(x)) % 2 == 0
            absorbed.append(absorption(one, x, letters == letter, learned=half)["absorbed"])
    probed, control = np.mean(said, axis=0)
    return {"probed": probed, "control": control, "absorbed": np.mean(absorbed or np.nan)}


def _beside(first: Dictionary, x: Tensor, mean: Tensor, n: int, seed: int) -> Iterator[Any]:
    """Yield the dictionaries that the first is set beside, by name."""
    if isinstance(first, TrainedDictionary):
        how: Any = {"site_in": first.site_in, "site_out": first.site_out, "width_out": len(mean)}
        how |= {"transcodes": first.transcodes, "seed": seed + 1}
        random = TrainedDictionary(first.kind, first.n_features, x.shape[1], **how).eval()
        for name in ("scale", "scale_out", "b_dec"):
            getattr(random, name).copy_(getattr(first, name))
        yield "random", random
    if first.site_in == first.site_out and 0 < n < len(mean):
        rows, eye = torch.linalg.svd(x - mean, full_matrices=False).Vh[:n], torch.eye(len(mean))
        acts: Any = (lambda x: x, lambda x: x * (x.abs() >= x.abs().topk(n).values[..., -1:]))
        for name, enc, act in zip(("PCA", "neurons"), (rows, eye), acts, strict=True):
            yield name, LinearDictionary(first.site_in, enc.T, 0 * enc[:, 0], enc, mean, act)
