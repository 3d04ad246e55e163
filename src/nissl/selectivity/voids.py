"""Voids: layers that a token passes through unactivated.

The change that a layer makes to the norm of the residual stream is held against the changes that
the layers before it made to the same token; a layer that falls short of a share of their range is a
void of that token. What skipping voids does to a network is told by `skip_voids`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.recording import check
from nissl.recording.labels import coordinate
from nissl.recording.units_by_site import samples_by, units_by_site
from nissl.statistics import Finding, Test, against_null

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["ALPHA", "stream_norms", "void_layers", "voids"]

ALPHA = 0.8  # of the range of earlier changes: what the paper's code takes
NULL = "layers permuted within texts; for differences, signs flipped by text"

Array = NDArray[np.floating[Any]]


@method(system=103)
def voids(
    rec: Recording,
    *,
    alpha: float = ALPHA,
    labels: str | None = None,
    document: str = "document",
    test: Test = Test(),
) -> Finding:
    """Find the layers that are voids of more tokens, or of fewer, than their place explains.

    Parameters
    ----------
    rec : Recording, shape (n_tokens, n_units)
        The residual stream before the first block and after each: sites
        ``["blocks.0.resid_pre", "resid_post"]``.
    alpha : float
        A layer is a void of a token where it changes the norm of the stream by less than this share
        of the range of the changes that earlier layers made to the token's.
    labels : str, optional
        Sample coordinate that divides the tokens: whether they are of the prompt or the response.
    document : str
        Sample coordinate of the text, whose tokens are not independent.
    test : Test
        Draws (199), tail, correction over layers and labels together, seed. The null: layers are
        permuted within texts; for differences of labels, their signs are flipped by text.

    Returns
    -------
    Finding
        One row for each layer and label: ``share`` (of the tokens, whose void it is), its null
        mean, effect, p (two-sided), q, ``layer``, ``label`` and ``n_tokens``. Where there are two
        labels, a row for each layer too whose label is "second - first": the difference of the two
        shares within a text, the mean over texts.

    Raises
    ------
    NisslError
        The recording is not the residual stream of all layers in their order, a norm is not
        finite, or a text lacks one of two labels.
    TooFewSamples
        There are fewer than two texts.
    UnknownName
        The recording has no such coordinate.

    Notes
    -----
    Later layers are held to more, so that they are voids more often where nothing tells the layers
    apart. The null therefore gives the changes to the layers in another order, one for each text,
    and looks for voids again. The difference of labels is compared with the same differences with
    random signs.

    A layer that makes the norm smaller is always a void, however much it writes. Nor does the norm
    tell what a layer computes: where every block also doubles the stream, which the next norm takes
    back, a network does the same and has hardly a void.

    Source: Shemiranifar 2025 (the rule, with the range of the earlier layers alone, as in the
    paper's code; and the two phases). Null and test are ours.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> norms = np.cumsum([[1.0, 4.0, 2.0, 0.1, 3.0]] * 20, axis=1)
    >>> site = ["blocks.0.resid_pre"] + [f"blocks.{i}.resid_post" for i in range(4)]
    >>> rec = as_recording(norms, samples={"document": np.repeat(np.arange(10), 2)},
    ...                 units={"site": site, "index": [0] * 5})
    >>> found = voids(rec, alpha=0.5).table
    >>> found[["unit", "share"]].values.tolist()[2:]
    [['blocks.2', 1.0], ['blocks.3', 0.0]]
    """
    test.require(null=(None,))
    n_permutations = test.draws(199)
    texts = samples_by(rec, document)
    if len(texts) < 2:
        raise TooFewSamples("one text gives no null", do="record two texts or more")
    names, kind = _kinds(rec, labels)
    member = np.stack([kind == number for number in range(len(names))])
    counts = member.sum(axis=1)
    norms = stream_norms(rec)
    void = void_layers(norms, alpha=alpha)
    changes, rng, draws = np.diff(norms, axis=1), np.random.default_rng(test.seed), []
    n_layers = changes.shape[1]
    observed = [*(member.astype(float) @ void / counts[:, None])]
    for _ in range(n_permutations):
        moved = np.empty_like(changes)
        for rows in texts:
            moved[rows] = changes[rows][:, rng.permutation(n_layers)]
        draws.append(member.astype(float) @ _void(moved, alpha) / counts[:, None])
    drawn = [*np.stack(draws, axis=1)]
    least_p = [float(math.factorial(n_layers)) ** -len(texts)] * (n_layers * len(names))
    if len(names) == 2:
        each = _differences(void, member, texts, names)
        signs = rng.choice([-1.0, 1.0], (n_permutations, len(texts)))
        observed.append(each.mean(axis=0))
        drawn.append(signs @ each / len(texts))
        least_p += [2.0 ** (1 - len(texts))] * n_layers
        names, counts = [*names, f"{names[1]} - {names[0]}"], [*counts, len(kind)]
    found = against_null(
        np.concatenate(observed),
        np.concatenate(drawn, axis=1),
        units=[f"blocks.{i}" for i in range(n_layers)] * len(names),
        score="share",
        method="voids",
        null=NULL,
        least_p=least_p,
        test=test,
    )
    return found.assign(
        {"alpha": alpha, "seed": test.seed, "n_texts": len(texts)},
        layer=np.tile(np.arange(n_layers), len(names)),
        label=np.repeat(names, n_layers),
        n_tokens=np.repeat(counts, n_layers),
    )


def void_layers(norms: ArrayLike, *, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Return which layers are voids of each token, from norms before the first layer and after all.

    A layer is a void where the change it makes to the norm is less than `alpha` times the range
    (largest less smallest) of the changes that earlier layers made to the token's. The threshold of
    the first two is 0, since there is no range before them.

    Examples
    --------
    >>> void_layers([[1.0, 5.0, 7.0, 7.1, 10.0]], alpha=0.5).tolist()
    [[False, False, True, False]]
    """
    given = np.asarray(norms, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] < 2:
        raise NisslError(
            f"norms have shape {given.shape}", do="give (n_tokens, n_layers + 1), the first before"
        )
    if not np.isfinite(given).all():
        token, place = np.argwhere(~np.isfinite(given))[0]
        raise NisslError("a norm is not finite", where=f"token {token}, after {place} layers")
    if not alpha >= 0:
        raise NisslError(f"alpha={alpha} is no share", do="give alpha=0 or more")
    return _void(np.diff(given, axis=1), alpha)


def stream_norms(rec: Recording) -> Array:
    """Return the norm of the residual stream before the first block and after each, by token.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> site = ["blocks.0.resid_pre"] * 2 + ["blocks.0.resid_post"] * 2
    >>> units = {"site": site, "index": [0, 1, 0, 1]}
    >>> stream_norms(as_recording([[3.0, 4.0, 6.0, 8.0]], units=units)).tolist()
    [[5.0, 10.0]]
    """
    from nissl.recording.chunks import chunks

    columns = units_by_site(check(rec))
    expected = ["blocks.0.resid_pre", *(f"blocks.{i}.resid_post" for i in range(len(columns) - 1))]
    if list(columns) != expected or len(expected) < 2:
        odd = next((a for a, b in zip(columns, expected, strict=True) if a != b), "resid_post")
        raise NisslError(
            "this is not the residual stream before the first block and after each, in order",
            where=odd,
            do='record sites=["blocks.0.resid_pre", "resid_post"]',
        )
    parts = []
    for part in chunks(rec):
        squares = np.square(np.asarray(part.values, dtype=np.float64))
        parts.append(np.sqrt([squares[:, where].sum(axis=1) for where in columns.values()]).T)
    return np.concatenate(parts)


def _void(changes: Array, alpha: float) -> NDArray[np.bool_]:
    """Hold each change against the range of those before it, shape (n_tokens, n_layers)."""
    reach = np.maximum.accumulate(changes, axis=1) - np.minimum.accumulate(changes, axis=1)
    least = np.zeros_like(changes)
    least[:, 1:] = alpha * reach[:, :-1]
    return np.asarray(changes < least)


def _differences(
    void: NDArray[np.bool_],
    member: NDArray[np.bool_],
    texts: list[NDArray[np.integer[Any]]],
    names: list[str],
) -> Array:
    """Return each text's share of the second label less that of the first, (n_texts, n_layers)."""
    shares = np.empty((2, len(texts), void.shape[1]))
    for name, label, share in zip(names, member, shares, strict=True):
        for text, rows in enumerate(texts):
            own = rows[label[rows]]
            if not len(own):
                raise NisslError(
                    f"a text has no token of '{name}'",
                    where=f"text {text}",
                    do="leave it out, or give labels=None",
                )
            share[text] = void[own].mean(axis=0)
    return np.asarray(shares[1] - shares[0])


def _kinds(rec: Recording, labels: str | None) -> tuple[list[str], NDArray[np.integer[Any]]]:
    """Return the names of the labels, in order of appearance, and which each token has."""
    if labels is None:
        return ["all"], np.zeros(rec.sizes["sample"], dtype=int)
    given = coordinate(rec, labels).astype(str)
    names = list(dict.fromkeys(given.tolist()))
    return names, np.asarray([names.index(name) for name in given])
