"""What a live model does on a text: its units at each token, and its layers' words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError, UnknownName
from nissl.web.beyond import Beyond
from nissl.web.features import OtherFeatures, feature_sites, other_features

if TYPE_CHECKING:
    from nissl.network import Network
    from nissl.web.index import Index

__all__ = ["Reading", "ids_of", "six"]

TOKENS = 512  # of a text
TOP, WORDS = 30, 3  # units that are farthest; words of the lens
MANY = 100  # units that are told where they were asked for
STREAM = "blocks.*.resid_post"
Array = NDArray[Any]


@dataclass(frozen=True)
class Units:
    """The units of the atlas at one site.

    Parameters
    ----------
    rows : array of int
        Their rows in its table.
    index : array of int or None
        Their places in the site; None where they are the first of it, in order.
    mean, inverse : array of float32
        Their means, and one over their standard deviations; 0 where a unit is constant.
    """

    rows: Array
    index: Array | None
    mean: Array
    inverse: Array

    def far(self, x: Array) -> Array:
        """Return how many standard deviations they are from their means."""
        own = x[..., : len(self.rows)] if self.index is None else x[..., self.index]
        far = (own - self.mean) * self.inverse
        far[~np.isfinite(far)] = 0
        return np.asarray(far)


class Reading:
    """What a network does at each token of a text.

    Parameters
    ----------
    index : Index
        Of the atlas, for the means and standard deviations of its units.

    Examples
    --------
    >>> Reading(index)(net, "The capital of France")["units"][0]["unit"]  # doctest: +SKIP
    'blocks.12.mlp.neurons[1007]'
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self.beyond = Beyond(index)
        self.lens: Callable[[Any], Any] | None = None
        self.streams: list[str] = []
        self.unread = ""
        self.ids: list[int] = []
        self.kept: dict[str, Array] = {}
        self.stream: dict[str, Any] = {}
        self.others: dict[str, OtherFeatures] | None = None

    def __call__(
        self,
        net: Network,
        text: str,
        *,
        units: Sequence[str] | None = None,
        position: int = -1,
        here: bool = False,
        features: bool = False,
    ) -> dict[str, Any]:
        """Read a text.

        Parameters
        ----------
        net : Network
            The model.
        text : str
            At most 512 tokens.
        units : sequence of str, optional
            Addresses, of which at most 100 are told; by default of all that are farthest.
        position : int
            Of the lens.
        here : bool
            Units that are far at this position; else anywhere in the text, but for a first token
            if the atlas left first ones out.
        features : bool
            Features of a dictionary that is not of the atlas, in place of the atlas's units.

        Returns
        -------
        dict
            ``tokens``; ``units``, sorted, each with ``unit``, ``at`` and ``activity`` at every
            token; and with ``row``, ``z``, its distance there from its mean in the atlas in its
            standard deviations, and ``beyond``, the share of the atlas's samples that are as far,
            or as features that the atlas has not with ``size``, the length of what it adds there
            as a share of the length of its site, and ``on``, at how many tokens it is not zero;
            ``features``, how many of these there are; ``lens``, the likeliest words of every layer
            at ``position``, or ``unread``, why there are none.

        Raises
        ------
        NisslError
            The text is too long, or there is no such unit or position.
        """
        ids = ids_of(net, text)
        if not -len(ids) <= position < len(ids):
            raise NisslError(f"there is no token {position}", do=f"give 0 to {len(ids) - 1}")
        self._read(net, ids)
        position %= len(ids)
        where = position if here else None
        if units is None:
            told = self._features(None, where) if features else self._units(None, where)
        else:
            told = self._asked(units, where)
        return {
            "tokens": net.tokens(ids),
            "units": told,
            "features": sum(len(other.norm) for other in (self.others or {}).values()),
            "position": position,
            "lens": self._words(net, position),
            "unread": self.unread,
        }

    def _read(self, net: Network, ids: list[int]) -> None:
        """Run the text, unless it was the last that was run."""
        if self.others is None:
            self.others = {f.site: f for f in other_features(net, list(self._sites))}
            self._find_lens(net)
        if self.ids == ids:
            return
        gone = [s for s in feature_sites(self.index.atlas.about) if s not in net.named_sites]
        own = [site for site in self._sites if site not in gone]
        more = [name for other in self.others.values() for name in (other.site, other.out)]
        wanted = dict.fromkeys([*own, *more, *self.streams])
        run = net.run([ids], sites=list(wanted))
        for site in own:
            if run[site].ndim != 3 or run[site].shape[1] != len(ids):
                raise NisslError("this site has not one value for each token", where=site)
        self.stream = {name: run[name][0] for name in self.streams}
        self.kept = {name: run[name][0].float().cpu().numpy() for name in [*own, *more]}
        self.ids = ids

    def _find_lens(self, net: Network) -> None:
        from nissl.network import unembed

        try:
            self.streams, self.lens = [site.name for site in net.find(STREAM)], unembed(net)
        except NisslError as error:
            self.streams, self.unread = [], str(error)

    @cached_property
    def _sites(self) -> dict[str, Units]:
        """The units of the atlas, site by site."""
        table, found = self.index.table, {}
        mean, sd = (table[name].to_numpy(np.float32) for name in ("mean", "sd"))
        with np.errstate(divide="ignore"):
            inverse = np.where(sd > 0, 1 / sd, 0)
        index = table["index"].to_numpy()
        for site, rows in table.groupby("site", sort=False).indices.items():
            whole = np.array_equal(index[rows], np.arange(len(rows)))
            at = None if whole else index[rows]
            found[str(site)] = Units(np.asarray(rows), at, mean[rows], inverse[rows])
        return found

    def _units(self, rows: Array | None, position: int | None) -> list[dict[str, Any]]:
        """Tell of the units that are farthest at a position, or anywhere; or of some."""
        n, count = len(self.ids), len(self.index.table)
        z, at = np.zeros(count, np.float32), np.zeros(count, dtype=int)
        left_out = "first positions" in str(self.index.atlas.about.get("left_out"))
        first = int(n > 1 and left_out) if position is None else position
        if position == 0 and n > 1 and left_out:  # there is nothing to compare it with
            return []
        part = slice(first, None if position is None else first + 1)
        for site, units in self._sites.items():
            if site in self.kept:
                far = units.far(self.kept[site][part])
                most = np.abs(far).argmax(0)
                z[units.rows], at[units.rows] = far[most, np.arange(far.shape[1])], first + most
        chosen = np.arange(count) if rows is None else rows
        order = np.argsort(-np.abs(z[chosen]), kind="stable")
        rows = chosen[order[: TOP if rows is None else MANY]]
        lines = self.index.table.loc[rows, ["unit", "site", "index", "count"]].to_dict("records")
        told: list[dict[str, Any]] = [
            {
                "row": int(row),
                "unit": line["unit"],
                "z": six(z[row]),
                "at": int(at[row]),
                "of": int(line["count"]),
                "activity": self._activity(line["site"], line["index"]),
            }
            for row, line in zip(rows, lines, strict=True)
            if line["site"] in self.kept
        ]
        shares = self.beyond(
            [unit["row"] for unit in told],
            [unit["activity"][unit["at"]] for unit in told],
            above=[unit["z"] >= 0 for unit in told],
        )
        return [unit | {"beyond": share} for unit, share in zip(told, shares, strict=True)]

    def _features(self, wanted: Sequence[str] | None, position: int | None) -> list[dict[str, Any]]:
        """Tell of the features that add most at a position, or anywhere; or of some."""
        told: list[dict[str, Any]] = []
        part = slice(None) if position is None else slice(position, position + 1)
        for site, other in (self.others or {}).items():
            active = self.kept[site]
            length = np.linalg.norm(self.kept[other.out], axis=-1, keepdims=True)
            size = (np.abs(active) * other.norm / np.where(length > 0, length, 1))[part]
            most = size.argmax(0)
            best = size[most, np.arange(size.shape[1])]
            if wanted is None:
                chosen = np.argsort(-best, kind="stable")[:TOP]
                chosen = chosen[best[chosen] > 0]
            else:
                chosen = np.array([i for i in range(len(best)) if f"{site}[{i}]" in wanted], int)
            told += [
                {
                    "unit": f"{site}[{i}]",
                    "size": six(best[i]),
                    "at": int(most[i]) + (position or 0),
                    "on": int((active[:, i] != 0).sum()),
                    "activity": self._activity(site, int(i)),
                }
                for i in chosen
            ]
        return sorted(told, key=lambda one: -(one["size"] or 0))[: TOP if wanted is None else MANY]

    def _asked(self, units: Sequence[str], position: int | None) -> list[dict[str, Any]]:
        more = {f"{s}[{i}]" for s, o in (self.others or {}).items() for i in range(len(o.norm))}
        rows = [unit for unit in units if unit not in more]
        for unit in rows:
            if unit not in self._row:
                do = "the list of units has them all"
                raise UnknownName("unit", unit, [*self._row, *more], do=do)
        chosen = np.array([self._row[unit] for unit in dict.fromkeys(rows)], dtype=int)
        return self._units(chosen, position) + self._features(list(more & set(units)), position)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {str(unit): row for row, unit in enumerate(self.index.table["unit"])}

    def _activity(self, site: str, index: int) -> list[float | None]:
        return [six(a) for a in self.kept[site][:, index].tolist()]

    def _words(self, net: Network, position: int) -> list[dict[str, Any]]:
        """Return the likeliest words that each layer would say, with their probabilities."""
        import torch

        if self.lens is None:
            return []
        with torch.no_grad():
            stream = torch.stack([self.stream[name][position] for name in self.streams])
            best = self.lens(stream).softmax(-1).topk(WORDS)
        layers = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [
            {"layer": layer, "words": [[w, six(x)] for w, x in zip(net.tokens(i), p, strict=True)]}
            for layer, (i, p) in enumerate(layers)
        ]


def ids_of(net: Network, text: str) -> list[int]:
    """Return the tokens of a text, as `Network.run` reads it.

    Parameters
    ----------
    net : Network
        Whose tokenizer.
    text : str
        At most 512 tokens.

    Returns
    -------
    list of int
        Their ids.

    Raises
    ------
    NisslError
        It has more, or none.
    """
    from nissl.network.run.windows import single_windows

    ids: list[int] = single_windows(net, text).ids[0].tolist()
    if len(ids) > TOKENS:
        raise NisslError(f"the text has {len(ids):,} tokens", do=f"give at most {TOKENS}")
    return ids


def six(x: Any) -> float | None:
    """Return a number to six digits; None where it is not finite.

    Parameters
    ----------
    x : float
        The number.

    Returns
    -------
    float or None
        As JSON knows it.

    Examples
    --------
    >>> six(1.23456789), six(float("nan"))
    (1.23457, None)
    """
    return float(f"{x:.6g}") if math.isfinite(x) else None
