"""What a live model does on a text: its units at each token, its layers' words, its heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError, UnknownName

if TYPE_CHECKING:
    from nissl.network import Network
    from nissl.web.index import Index

__all__ = ["Reading", "attention", "ids_of"]

TOKENS = 512  # of a text
TOP, WORDS = 30, 3  # units that deviate most; words of the lens
STREAM = "blocks.*.resid_post"


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
        self.lens: Callable[[Any], Any] | None = None
        self.streams: list[str] = []
        self.unread = ""
        self.ids: list[int] = []
        self.kept: dict[str, Any] = {}

    def __call__(
        self, net: Network, text: str, *, units: Sequence[str] = (), position: int = -1
    ) -> dict[str, Any]:
        """Read a text.

        Parameters
        ----------
        net : Network
            The model.
        text : str
            At most 512 tokens.
        units : sequence of str
            Addresses; by default those farthest from their mean in the atlas, in its standard
            deviations, at any token but a first one if the atlas left first ones out.
        position : int
            Of the lens.

        Returns
        -------
        dict
            ``tokens``; ``units``, each with ``row``, ``unit``, ``z`` where that is farthest
            (``at``), and ``activity`` at every token; ``lens``, the likeliest words of every layer
            at ``position``, or ``unread``, why there are none.

        Raises
        ------
        NisslError
            The text is too long, or there is no such unit or position.
        """
        ids = ids_of(net, text)
        if not -len(ids) <= position < len(ids):
            raise NisslError(f"there is no token {position}", do=f"give 0 to {len(ids) - 1}")
        if self.lens is None and not self.unread:
            self._find_lens(net)
        if self.ids != ids:  # another position of the same text is not run again
            sites = [*self.index.atlas.about["sites"], *self.streams]
            self.kept = {name: x[0] for name, x in net.run([ids], sites=sites).items()}
            self.ids = ids
        z, at = self._deviations(len(ids))
        rows = self._rows(units) if units else np.argsort(-np.abs(z), kind="stable")[:TOP]
        lines = self.index.table.loc[rows, ["unit", "site", "index"]].to_dict("records")
        told = [
            {
                "row": int(row),
                "unit": line["unit"],
                "z": _six(z[row]),
                "at": int(at[row]),
                "activity": [_six(a) for a in self.kept[line["site"]][:, line["index"]].tolist()],
            }
            for row, line in zip(rows, lines, strict=True)
        ]
        position %= len(ids)
        lens = {"position": position, "lens": self._words(net, position), "unread": self.unread}
        return {"tokens": net.tokens(ids), "units": told, **lens}

    def _find_lens(self, net: Network) -> None:
        from nissl.network import unembed

        try:
            self.streams, self.lens = [site.name for site in net.find(STREAM)], unembed(net)
        except NisslError as error:
            self.streams, self.unread = [], str(error)

    def _rows(self, units: Sequence[str]) -> Any:
        known = {unit: row for row, unit in enumerate(self.index.table["unit"])}
        for unit in units:
            if unit not in known:
                raise UnknownName("unit", unit, list(known), do="the list of units has them all")
        return np.array([known[unit] for unit in units])

    def _deviations(self, n: int) -> tuple[Any, Any]:
        """Return how far each unit is from its mean where it is farthest, and where that is."""
        table = self.index.table
        z, at = np.zeros(len(table)), np.zeros(len(table), dtype=int)
        first = int(n > 1 and "first positions" in str(self.index.atlas.about.get("left_out")))
        index = table["index"].to_numpy()
        mean, sd = (table[name].to_numpy(np.float32) for name in ("mean", "sd"))
        for site, rows in table.groupby("site", sort=False).indices.items():
            x = self.kept[str(site)]
            if x.ndim != 2 or len(x) != n:
                raise NisslError("this site has not one value for each token", where=str(site))
            values = x[first:].float().cpu().numpy()[:, index[rows]]
            with np.errstate(divide="ignore", invalid="ignore"):
                far = np.where(sd[rows] > 0, (values - mean[rows]) / sd[rows], 0)
            far[~np.isfinite(far)] = 0
            most = np.abs(far).argmax(0)
            z[rows], at[rows] = far[most, np.arange(len(rows))], first + most
        return z, at

    def _words(self, net: Network, position: int) -> list[dict[str, Any]]:
        """Return the likeliest words that each layer would say, with their probabilities."""
        import torch

        if self.lens is None:
            return []
        with torch.no_grad():
            stream = torch.stack([self.kept[name][position] for name in self.streams])
            best = self.lens(stream).softmax(-1).topk(WORDS)
        layers = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [
            {"layer": layer, "words": [[w, _six(x)] for w, x in zip(net.tokens(i), p, strict=True)]}
            for layer, (i, p) in enumerate(layers)
        ]


def attention(net: Network, text: str, *, layer: int, head: int) -> dict[str, Any]:
    """Return what one head attends to.

    Parameters
    ----------
    net : Network
        The model.
    text : str
        At most 512 tokens.
    layer, head : int
        Which.

    Returns
    -------
    dict
        ``tokens``, and ``pattern``: a row for each that attends, a column for each attended to.

    Raises
    ------
    NisslError
        The text is too long, or there is no such head.
    """
    ids, site = ids_of(net, text), f"blocks.{layer}.attn.pattern"
    pattern = net.run([ids], sites=site)[site][0]  # of each position, head and position read
    if not 0 <= head < pattern.shape[1]:
        raise NisslError(f"there is no head {head}", do=f"give 0 to {pattern.shape[1] - 1}")
    rows = pattern[:, head].float().cpu().numpy().round(4)
    return {"tokens": net.tokens(ids), "pattern": rows.tolist()}


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


def _six(x: Any) -> float | None:
    """Return a number to six digits; None where it is not finite."""
    return float(f"{x:.6g}") if math.isfinite(x) else None
