"""Train a dictionary on activity: a sparse autoencoder, or a transcoder of two sites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.features.codes import Codes
from nissl.features.dictionary import TrainedDictionary
from nissl.features.kinds.kind import Kind, kind_of
from nissl.features.kinds.topk import revival
from nissl.fingerprint import fingerprint
from nissl.methods import method
from nissl.recording import open_store
from nissl.training import ShuffledRows, train

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["Schedule", "gradient_sae", "sae", "sweep", "transcoder"]

PARTS = ("begin", "encode", "error", "penalty")  # of a kind


@dataclass(frozen=True)
class Schedule:
    """How a dictionary is trained.

    Parameters
    ----------
    samples : int, optional
        How many samples are seen, some more than once; by default each once, and at least as many
        as make a thousand updates.
    batch_size : int
        Samples of an update.
    learning_rate : float
        Of Adam; it goes to zero in the last fifth.
    cache : bool
        Keep what is trained, and go on where an earlier call was interrupted.
    device : str, optional
        Where.
    """

    samples: int | None = None
    batch_size: int = 4096
    learning_rate: float = 1e-3
    cache: bool = True
    device: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 2 or (self.samples is not None and self.samples < self.batch_size):
            raise NisslError(
                f"{self.samples} samples in batches of {self.batch_size} train nothing",
                do="give batch_size=2 or more, and as many samples as a batch",
            )


@method(system=159)
def sae(
    rec: Recording | str | Path,
    *,
    n_features: int,
    k: int | None = None,
    kind: Kind | str = "topk",
    site: str | None = None,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> TrainedDictionary:
    """Learn features of activity, few of which are active at a time.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units), or path of a store
        Activity of one site, or of any units: neurons, voxels, cells. A store is streamed.
    n_features : int
        How many features.
    k : int, optional
        Active in a sample: 32 of the kinds that are told, "relu" and "gated" are not.
    kind : Kind or {"topk", "batch_topk", "matryoshka", "jump_relu", "relu", "gated"}
        Its activation and penalty.
    site : str, optional
        Which site of a store that has several.
    schedule : Schedule
        Samples, batch size, learning rate.
    seed : int
        Of first weights and order.
    progress : bool
        Show a bar.

    Returns
    -------
    TrainedDictionary
        A `Dictionary` of the site, for ``net.with_dictionary``.

    Raises
    ------
    NisslError
        Activity is not finite or does not vary, there are several sites, or the kind does not fit.
    TooFewSamples
        There are fewer samples than a batch.

    Notes
    -----
    Activity is scaled so that its variance is its width; the error is in shares of the variance.
    Source: Bricken et al. 2023; Cunningham et al. 2023; each kind names its own.

    Examples
    --------
    >>> found = sae("acts.zarr", n_features=4608, k=32)  # doctest: +SKIP
    >>> seen = net.with_dictionary(found)  # doctest: +SKIP
    """
    wanted = [(n_features, kind_of(kind, k=k))]
    return _trained((_opened(rec, site),), wanted, schedule, seed, progress)[0]


def sweep(
    rec: Recording | str | Path,
    *,
    n_features: Iterable[int],
    k: Iterable[int | None] = (None,),
    kinds: Iterable[Kind | str] = ("topk",),
    site: str | None = None,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> dict[str, TrainedDictionary]:
    """Learn several dictionaries in one pass over the data, each as `sae` learns it alone.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units), or path of a store
        As in `sae`.
    n_features, k, kinds : iterables
        Every size with every k and every kind; a kind that is given whole has its k already.
    site, schedule, seed, progress
        As in `sae`.

    Returns
    -------
    dict of str to TrainedDictionary
        By what tells them apart, such as "topk, 4608 features, k=32": `worth` takes them so.

    Raises
    ------
    NisslError
        As in `sae`.

    Examples
    --------
    >>> found = sweep("acts.zarr", n_features=[1152, 4608], k=[16, 64])  # doctest: +SKIP
    >>> worth(found, net, held_out)  # doctest: +SKIP
    """
    wanted: dict[str, tuple[int, Kind]] = {}
    for kind, size, active in product(list(kinds), list(n_features), list(k)):
        made = kind_of(kind, k=active)
        name = f"{kind}, {size} features"
        wanted[name if active is None else f"{name}, k={active}"] = size, made
    if not wanted:
        raise NisslError("no dictionary is asked for", do="give n_features=[1152, 4608]")
    made_all = _trained((_opened(rec, site),), [*wanted.values()], schedule, seed, progress)
    return dict(zip(wanted, made_all, strict=True))


@method(system=111)
def gradient_sae(
    rec: Recording,
    gradients: Recording,
    *,
    n_features: int,
    k: int | None = None,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> TrainedDictionary:
    """Learn features that the network's loss depends on: see `GradientTopK`.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity of one site.
    gradients : Recording, shape (n_samples, n_units)
        Of the loss there, of the same samples: `nissl.behaviour.loss_gradients`.
    n_features, k, schedule, seed, progress
        As in `sae`.

    Returns
    -------
    TrainedDictionary
        It encodes without gradients, by the k largest.

    Raises
    ------
    NisslError
        The two have other samples or units, or as in `sae`.

    Notes
    -----
    Source: Olmo et al. 2024, Features that make a difference.

    Examples
    --------
    >>> slopes = loss_gradients(net, texts, site="blocks.15.resid_post")  # doctest: +SKIP
    >>> found = gradient_sae(acts, slopes, n_features=4608)  # doctest: +SKIP
    """
    if rec.shape != gradients.shape:
        raise NisslError(f"activity {rec.shape}, gradients {gradients.shape}", do="of one site")
    wanted = [(n_features, kind_of("gradient_topk", k=k))]
    data = _opened(rec, None)
    return _trained((data,), wanted, schedule, seed, progress, beside=(gradients,))[0]


@method(system=191)
def transcoder(
    rec: Recording,
    to: Recording,
    *,
    n_features: int,
    k: int | None = None,
    kind: Kind | str = "topk",
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: bool = True,
) -> TrainedDictionary:
    """Learn features that read one site and write another: a sparse, wide MLP in its place.

    Parameters
    ----------
    rec : Recording, shape (n_samples, n_units)
        Activity of one site that is read, such as what an MLP is given; a store is streamed.
    to : Recording, shape (n_samples, n_units)
        Activity of another that is written, of the same samples.
    n_features, k, kind, schedule, seed, progress
        As in `sae`.

    Returns
    -------
    TrainedDictionary
        A `Dictionary` of two sites.

    Raises
    ------
    NisslError
        The two have other samples, or as in `sae`.

    Notes
    -----
    Source: Dunefsky et al. 2024, Transcoders find interpretable LLM feature circuits.

    Examples
    --------
    >>> into, out = (open_store("acts.zarr", site)  # doctest: +SKIP
    ...              for site in ("blocks.5.resid_mid", "blocks.5.mlp.out"))
    >>> found = transcoder(into, out, n_features=4608)  # doctest: +SKIP
    """
    if len(rec) != len(to):
        raise NisslError(f"{len(rec)} samples are read, {len(to)} written", do="give the same")
    both = _opened(rec, None), _opened(to, None)
    return _trained(both, [(n_features, kind_of(kind, k=k))], schedule, seed, progress)[0]


def _opened(rec: Recording | str | Path, site: str | None) -> Recording:
    found: Any = open_store(rec, site) if isinstance(rec, str | Path) else rec
    if isinstance(found, dict):
        raise NisslError(f"the store has {len(found)} sites", do="give site=, one of them")
    if found.attrs.get("complete") is False:
        raise NisslError("the store is still being written, or was left", do="finish it first")
    if "site" in found.coords:
        sites = list(dict.fromkeys(found["site"].values.tolist()))
        if site is not None and not isinstance(rec, str | Path):
            require_known("site", site, [str(name) for name in sites])
            found = found[:, found["site"].values == site]
        elif len(sites) > 1:
            raise NisslError(f"there are {len(sites)} sites", do=f"give site=, such as {sites[0]}")
    elif site is not None and not isinstance(rec, str | Path):
        raise NisslError(f"the recording does not say what its site is, so not '{site}'")
    return found  # type: ignore[no-any-return]


def _trained(
    recs: tuple[Recording, ...],
    wanted: list[tuple[int, Kind]],
    schedule: Schedule,
    seed: int,
    progress: bool,
    *,
    beside: tuple[Recording, ...] = (),
) -> list[TrainedDictionary]:
    """Train dictionaries, at once, on what is read and perhaps written, and what kinds need."""
    n, size = len(recs[0]), schedule.batch_size
    if n < 2 * size:
        raise TooFewSamples(f"{n} samples are fewer than two batches of {size}", do="batch_size=")
    rows = ShuffledRows((*recs, *beside), batch_size=size, seed=seed)
    names = [str(rec["site"].values[0]) if "site" in rec.coords else "" for rec in recs]
    first = rows(0)[: len(recs)]
    steps = max(1000, n // size) if schedule.samples is None else schedule.samples // size
    made = nn.ModuleList()
    for n_features, kind in wanted:
        model = TrainedDictionary(
            kind,
            n_features,
            recs[0].shape[1],
            site_in=names[0],
            site_out=names[-1],
            width_out=recs[-1].shape[1],
            transcodes=len(recs) > 1,
            seed=seed,
        )
        model.scale.copy_(_scale(first[0]))
        model.scale_out.copy_(_scale(first[-1]))
        with torch.no_grad():
            model.b_dec.copy_((first[-1] / model.scale_out).mean(0))
        model.patience = min(model.patience, steps * size // 8)  # in a short training sooner
        made.append(model)
    done = train(
        made if len(made) > 1 else made[0],
        rows,
        loss=dictionary_loss,
        steps=max(steps, 1),
        optimiser="adam",
        learning_rate=schedule.learning_rate,
        schedule="linear",
        warmup=min(200, steps // 5),
        seed=seed,
        cache=schedule.cache,
        # What a kind computes is told by its code, not by its name.
        key=fingerprint(
            [[revival, *(getattr(type(kind), part) for part in PARTS)] for _, kind in wanted]
        )
        + f" {made[0].patience}",
        device=schedule.device,
        progress=progress,
    )
    found: Any = list(made)
    if len(found) == 1:
        found[0].losses = done.losses
    return found  # type: ignore[no-any-return]


def _scale(x: Tensor) -> Tensor:
    """Return what divides activity, so that its variance is its width."""
    if not bool(torch.isfinite(x).all()):
        raise NisslError("activity is not finite", do="look for overflow: rec.attrs['nonfinite']")
    spread = (x - x.mean(0)).square().mean().sqrt()
    if not spread > 0:
        raise NisslError("activity does not vary in the first batch")
    return spread


def dictionary_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Return the error in shares of the variance, and what the kind adds to it.

    Parameters
    ----------
    model : TrainedDictionary, or ModuleList of several
        It counts for how long each feature was silent.
    batch : tuple of Tensor
        Activity that is encoded; of a transcoder, what is decoded to; and what the kind's
        ``encode`` takes besides.

    Returns
    -------
    Tensor, shape ()
        With its graph; of several the sum.
    """
    if isinstance(model, nn.ModuleList):
        return torch.stack([dictionary_loss(one, batch) for one in model]).sum()
    assert isinstance(model, TrainedDictionary)
    n = 1 + model.transcodes
    x, y = model.scaled(batch[0]), (batch[n - 1] / model.scale_out).to(model.w_dec)
    features = model.kind.encode(model, x, *batch[n:])
    if model.training:
        _count(model, features, len(x))
    error = model.kind.error(model, features, y).mean() / y.shape[1]
    return error + model.kind.penalty(model, x, y, features)


@torch.no_grad()
def _count(model: TrainedDictionary, features: Tensor | Codes, n: int) -> None:
    model.silent += n
    if isinstance(features, Codes):
        model.silent[features.indices[features.values > 0]] = 0
    else:
        model.silent[(features > 0).any(0)] = 0
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(model.silent, torch.distributed.ReduceOp.MIN)
