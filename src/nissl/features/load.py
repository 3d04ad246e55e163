"""Read dictionaries trained elsewhere, and see whether they fit the network at their site."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nissl.errors import NisslError, UnknownName
from nissl.features.dictionary import TrainedDictionary
from nissl.features.formats import READABLE, read_files

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["load"]

POOR = 0.5  # of the variance
BETTER = 0.1  # so much more of it is a reason
ROWS = 512  # with which reasons are looked for


def load(
    path: str | Path, *, site: str | None = None, net: Network | None = None, sample: Any = None
) -> TrainedDictionary:
    """Read a dictionary that another library trained, or this one, from local files.

    Parameters
    ----------
    path : str or Path
        A folder of SAELens, dictionary_learning or sparsify, or the file of weights in it; or a
        file of `TrainedDictionary.save`.
    site : str, optional
        Its site, where the files do not say it or are not to be believed; of a transcoder
        ``"blocks.5.mlp:in -> blocks.5.mlp.out"``.
    net : Network, optional
        The network in which that site must be.
    sample : texts or other inputs, optional
        What `net` reads to see whether the dictionary fits: some hundred tokens.

    Returns
    -------
    TrainedDictionary
        Of the kind with the same arithmetic, in float32. With `sample` it has
        ``explained_variance``, of all tokens. Where that is below a half, with or without the first
        token of each text, a warning says what would explain more: another scale, centred or folded
        weights, a neighbouring layer.

    Raises
    ------
    NisslError
        It is no checkpoint that can be read, weights are not finite or do not fit each other, a
        file is a link out of its folder, or the network has no such site of that width.

    Notes
    -----
    No code in files is run. Fields and arithmetic are those of SAELens 1 to 6.54,
    dictionary_learning 0.1 and sparsify 1.3.

    Examples
    --------
    >>> found = load("gpt2-small/blocks.8", net=net, sample=texts)  # doctest: +SKIP
    >>> seen = net.with_dictionary(found)  # doctest: +SKIP
    """
    if sample is not None and net is None:
        raise NisslError("sample= is for a network to read", do="give net= too")
    try:
        found = read_files(Path(path), site)
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
    widths = [site.width for site in found]
    if len(widths) != 1 or widths[0] not in (None, width):
        what = f"the dictionary has {width} units at one site, {name} has {widths} in the network"
        raise NisslError(what, do="give site=, or the network that it is of")
    return found[0].name


def _explained_or_why(dictionary: TrainedDictionary, net: Network, sample: Any) -> float:
    """Return how much a dictionary explains, first tokens too; warn where it is little."""
    ends = list(dict.fromkeys((dictionary.site_in, dictionary.site_out)))
    (x, first), (y, _) = (_activity(net, sample, end) for end in (ends[0], ends[-1]))
    rest = first if first.all() else ~first
    found, without = _explained(dictionary, x, y), _explained(dictionary, x[rest], y[rest])
    if min(found, without) >= POOR:  # one huge first token can make all else look well explained
        return found
    x, y = x[rest][:ROWS], y[rest][:ROWS]
    enough = max(_explained(dictionary, x, y) + BETTER, 0.0)
    shares = [(_explained(dictionary, a, b), how) for how, a, b in _others(dictionary, x, y)]
    for step in (-1, 1):
        near = [_moved(end, step) for end in ends]
        try:
            a, b = (_activity(net, sample, end)[0][rest][:ROWS] for end in (near[0], near[-1]))
        except (NisslError, IndexError):  # there is no such layer, or it has other samples
            continue
        if (a.shape, b.shape) == (x.shape, y.shape):
            shares.append((_explained(dictionary, a, b), f"at {' -> '.join(near)} (another layer)"))
    better = [f"{share:.2f} {how}" for share, how in sorted(shares, reverse=True) if share > enough]
    warnings.warn(
        f"the dictionary explains {found:.2f} of the variance of {' -> '.join(ends)} in the sample,"
        f" {without:.2f} without the first token of each text. Without it, it would explain: "
        + ("; ".join(better) or "no more in any other way that was tried"),
        stacklevel=3,
    )
    return found


def _others(
    dictionary: TrainedDictionary, x: Tensor, y: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield activity as the dictionary may have been given it, with the reason."""
    a, b = (z - z.mean(-1, keepdim=True) for z in (x, y))
    yield "less the mean over units (centred weights)", a, b
    if dictionary.site_in == dictionary.site_out:
        a = x - x.mean(0) + dictionary.decode(torch.zeros(1, dictionary.n_features)).detach()
        yield "with the dictionary's mean for the site's (folded biases)", a, a
    s = 1.0
    for powers in (range(-12, 13), [k / 8 for k in range(-8, 9)]):
        s = max((_explained(dictionary, x * t, y * t), t) for t in [s * 2.0**k for k in powers])[1]
    yield f"times {s:.3g} (another scale: d.scale /= {s:.3g}, scale_out too)", x * s, y * s


def _explained(dictionary: TrainedDictionary, x: Tensor, y: Tensor) -> float:
    """Return the share of the variance of y that is decoded from x."""
    with torch.no_grad():
        error = (y - dictionary.decode(dictionary.encode(x))).double().square().sum()
    return float(1 - error / (y - y.mean(0)).double().square().sum())


def _moved(site: str, by: int) -> str:
    return re.sub(r"(?<=\.)\d+", lambda number: str(int(number[0]) + by), site, count=1)


def _activity(net: Network, sample: Any, site: str) -> tuple[Tensor, Tensor]:
    """Return activity, and which samples are the first token of a text."""
    from nissl.network.record import record

    rec: Any = record(net, sample, sites=site, progress=False)
    first = rec["position"].values == 0 if "position" in rec.coords else [False] * len(rec)
    return torch.as_tensor(rec.values).float(), torch.as_tensor(first)
