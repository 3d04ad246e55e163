"""Read dictionaries trained elsewhere, and see whether they fit the network at their site."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError, UnknownName
from nissl.features._formats import READABLE, read_files
from nissl.features.dictionary import TrainedDictionary

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["load"]

POOR = 0.5  # of the variance: what would explain more is looked for
LEFT = 0.9  # of what is left unexplained: what leaves no more than this is a reason
ROWS = 512  # with which reasons are looked for


def load(
    path: str | Path, *, site: str | None = None, net: Network | None = None, sample: Any = None
) -> TrainedDictionary:
    """Read a dictionary that another library trained, or this one; no code in files is run.

    Parameters
    ----------
    path : str or Path
        A folder of SAELens (1 to 6.54), dictionary_learning (0.1) or sparsify (1.3), or the file of
        weights in it; or a file of `TrainedDictionary.save`.
    site : str, optional
        Its site, in place of what the files say; of a transcoder
        ``"model.layers.5.mlp:in -> blocks.5.mlp.out"``.
    net : Network, optional
        The network in which that site must be.
    sample : texts or other inputs, optional
        What `net` reads to see whether the dictionary fits: some hundred tokens.

    Returns
    -------
    TrainedDictionary
        Of the kind with the same arithmetic, in float32. With `sample` it has
        ``explained_variance``, of all samples. A warning says when a neighbouring layer is
        explained better; and where less than a half is explained, of all samples or of the median
        one (which is no huge first token), if another scale, centred or folded weights would be.

    Raises
    ------
    NisslError
        It is no checkpoint that can be read, weights are not finite or do not fit each other, a
        file is a link out of its folder, or the network has no such site of that width.

    Examples
    --------
    >>> found = load("gpt2-small/blocks.8", net=net, sample=texts)  # doctest: +SKIP
    """
    if sample is not None and net is None:
        raise NisslError("sample= is for a network to read", do="give net= too")
    try:
        found = read_files(Path(path), site)
        vars(found)["file"] = str(path)  # from which an atlas of its features names it
        if net is not None:
            found.site_in = _placed(net, found.site_in, found.w_enc.shape[1])
            found.site_out = _placed(net, found.site_out, found.w_dec.shape[1])
    except NisslError as error:
        error.where = error.where or str(path)
        raise
    except Exception as error:  # whatever is wrong in the files of strangers is said the same way
        what = f"the files are no dictionary: {type(error).__name__} {error}"[:500]
        raise NisslError(what, where=str(path), do=READABLE) from error
    if net is not None and sample is not None:
        found.explained_variance = _explained_or_why(found, net, sample)  # type: ignore[assignment]
    return found


def _placed(net: Network, name: str, width: int) -> str:
    """Return the full name of a site in a network, which has so many units."""
    from nissl.network.sites.site import body_path

    if not name:
        raise NisslError("the files name no site", do="give site=")
    try:
        found = net.find(name)
    except UnknownName:  # sparsify names modules below the model's head
        if not (body := body_path(net.model)) or name.startswith(body):
            raise
        found = net.find(f"{body}.{name}")
    if (widths := [site.width for site in found]) not in ([None], [width]):
        what = f"the dictionary has {width} units at one site, {name} has {widths} in the network"
        raise NisslError(what, do="give site=, or the network that it is of")
    return found[0].name


def _explained_or_why(dictionary: TrainedDictionary, net: Network, sample: Any) -> float:
    """Return how much a dictionary explains; warn where it would explain more of something else."""
    ends = [dictionary.site_in, dictionary.site_out]
    x, y = _activity(net, sample, ends)
    with torch.no_grad():
        off = (y - dictionary(x)).double().square().sum()
    found = float(1 - off / (y - y.mean(0)).double().square().sum())
    here, tried = _typical(dictionary, x, y), _at_neighbours(dictionary, net, sample, ends)
    if poor := min(found, here) < POOR:
        tried = chain(tried, _otherwise(dictionary, x[:ROWS], y[:ROWS]))
    enough = max(0.0, 1 - LEFT * (1 - here))
    better = [f"{share:.2f} {how}" for share, how in sorted(tried, reverse=True) if share > enough]
    if better or poor:
        warnings.warn(
            f"the dictionary explains {found:.2f} of the variance of {_named(ends)} in the sample,"
            f" {here:.2f} of the median sample's (first tokens may be huge). Of the median sample "
            f"it would explain: {'; '.join(better) or 'no more in any other way that was tried'}",
            stacklevel=3,
        )
    return found


def _typical(dictionary: TrainedDictionary, x: Tensor, y: Tensor) -> float:
    """Return the share that is explained of the median sample, not moved by a few huge ones.

    It tells layers apart: of all variance, a dictionary of SmolLM2's block 3 explains as much in 2.
    """
    x, y = x[:ROWS], y[:ROWS]
    with torch.no_grad():
        off = (y - dictionary(x)).double().square().sum(-1)
    size = (y - y.median(0).values).double().square().sum(-1)
    return float(1 - (off / size.clamp_min(1e-30)).median())


def _at_neighbours(
    dictionary: TrainedDictionary, net: Network, sample: Any, ends: list[str]
) -> Iterator[tuple[float, str]]:
    """Yield what is explained in the layer before and the one after, where there is one."""
    parts = [re.split(r"(?<=\.)(\d+)", end, maxsplit=1) for end in ends]
    for step in (-1, 1) if all(len(part) == 3 for part in parts) else ():
        near = [f"{before}{int(layer) + step}{after}" for before, layer, after in parts]
        try:
            share = _typical(dictionary, *_activity(net, sample, near))
        except (NisslError, RuntimeError):  # there is none, or it has another width
            continue
        yield share, f"at {_named(near)} (another layer)"


def _otherwise(dictionary: TrainedDictionary, x: Tensor, y: Tensor) -> Iterator[tuple[float, str]]:
    """Yield what is explained of activity as the dictionary may have been given it."""
    a, b = (z - z.mean(-1, keepdim=True) for z in (x, y))
    yield _typical(dictionary, a, b), "less the mean over units (centred weights)"
    if dictionary.site_in == dictionary.site_out:
        a = x - x.mean(0) + dictionary.decode(torch.zeros(1, dictionary.n_features)).detach()
        how = "with the dictionary's mean for the site's (folded biases)"
        yield _typical(dictionary, a, a), how
    share, s = 0.0, 1.0
    for powers in (range(-12, 13), [k / 8 for k in range(-8, 9)]):
        scales = [s * 2.0**k for k in powers]
        share, s = max((_typical(dictionary, x * t, y * t), t) for t in scales)
    if not 0.7 < s < 1.4:
        yield share, f"times {s:.3g} (another scale: d.scale /= {s:.3g}, scale_out too)"


def _activity(net: Network, sample: Any, ends: list[str]) -> tuple[Tensor, Tensor]:
    """Return activity of both ends."""
    from nissl.network.record import record

    rec: Any = record(net, sample, sites=list(dict.fromkeys(ends)), progress=False)
    if isinstance(rec, dict):
        raise NisslError("the dictionary's two sites have other samples", where=_named(ends))
    x, y = (torch.as_tensor(rec.values[:, rec["site"].values == end]).float() for end in ends)
    return x, y


def _named(ends: list[str]) -> str:
    return " -> ".join(dict.fromkeys(ends))
