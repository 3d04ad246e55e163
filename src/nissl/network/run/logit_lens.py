"""The logit lens: what a network would say if its residual stream ended after a block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nissl.errors import NisslError
from nissl.network.run.forward import run
from nissl.network.run.unembed import unembed
from nissl.network.run.windows import single_windows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from torch import Tensor

    from nissl.network.sites.base import BaseNetwork

__all__ = ["LogitLens", "logit_lens"]


@dataclass(frozen=True)
class LogitLens:
    """What the logit lens reads at each site and position.

    Parameters
    ----------
    table : DataFrame
        A row for each item, site and position: ``item``, ``site``, ``layer``, ``position``,
        ``token`` (what is read there), ``best`` (the likeliest next token) and its ``probability``.
    answers : DataFrame
        A row for each of these and each answer asked for: ``answer``, ``log_probability`` (nats)
        and ``rank`` (1 for the likeliest).
    """

    table: pd.DataFrame
    answers: pd.DataFrame

    def plot(self, *, item: int = 0, axes: Axes | None = None) -> Axes:
        """Draw the likeliest token at each site, read from the bottom, and position.

        Parameters
        ----------
        item : int
            Which of the inputs.
        axes : matplotlib Axes, optional
            Where.

        Returns
        -------
        matplotlib Axes
            The axes; the colour is the probability.
        """
        from nissl.statistics.figure import heatmap, panels

        table = self.table[self.table["item"] == item]
        rows, columns = list(dict.fromkeys(table["site"])), table["position"].unique()
        shape = len(rows), len(columns)
        if axes is None:
            axes = panels(1)[1][0]
            size = 2 + 0.65 * shape[1], 1.2 + 0.27 * shape[0]
            axes.figure.set_size_inches(*size)  # type: ignore[union-attr]
        probability = table["probability"].to_numpy().reshape(shape)
        words = table["best"].to_numpy().reshape(shape)
        heatmap(probability, words=words, label="probability", limit=1, axes=axes)
        layers = table["layer"].to_numpy().reshape(shape)[:, 0]
        names = [site if layer < 0 else layer for site, layer in zip(rows, layers, strict=True)]
        axes.set_yticks(range(shape[0]), list(map(str, names)))
        axes.set_xticks(range(shape[1]), table["token"][: shape[1]], rotation=45, ha="right")
        axes.invert_yaxis()
        axes.set(xlabel="token read", ylabel="after block", title="Likeliest next token")
        return axes


def logit_lens(
    net: BaseNetwork,
    inputs: Any,
    *,
    sites: str | Iterable[str] = "blocks.*.resid_post",
    positions: int | slice | Sequence[int] | None = None,
    answers: Sequence[str | int] = (),
) -> LogitLens:
    """Read the residual stream as if it were the last.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    inputs : text, texts, chats or token ids
        What it reads.
    sites : str or iterable of str
        Places in the residual stream.
    positions : int, slice or sequence of int, optional
        Where; negative ones count from the end. By default everywhere.
    answers : sequence of str or int
        Tokens whose log probability and rank are wanted.

    Returns
    -------
    LogitLens
        Tables, and ``plot``.

    Raises
    ------
    NisslError
        A site is not in the residual stream, an answer is not one token, or `unembed` does not know
        what lies between stream and logits.

    Notes
    -----
    Source: nostalgebraist 2020. Directions turn between blocks: a lens that sees nothing has not
    shown that nothing is there.

    Examples
    --------
    >>> lens = net.logit_lens("The Colosseum is in", answers=[" Rome"])  # doctest: +SKIP
    >>> lens.answers.query("layer == 29 and position == 4")  # doctest: +SKIP
    """
    import pandas as pd

    read, found, ids = unembed(net), net.find(sites), single_windows(net, inputs).ids
    asked = [net.token_id(answer) for answer in answers]
    width = int(net.unembedding.shape[1])
    table: list[pd.DataFrame] = []
    wanted: list[pd.DataFrame] = []
    for item, tokens in enumerate(ids):
        places = np.atleast_1d(np.arange(len(tokens))[_index(positions)])
        labels: dict[str, Any] = {"position": places, "token": net.tokens(tokens[places])}
        with torch.no_grad():
            streams = run(net, [tokens.tolist()], sites=[site.name for site in found])
        for site in found:
            stream = streams[site.name]
            if stream.ndim != 3 or stream.shape[-1] != width:
                raise NisslError(
                    f"'{site.name}' is not in the residual stream, shape {tuple(stream.shape)}",
                    do="give sites such as blocks.*.resid_post",
                )
            layer = -1 if site.layer is None else site.layer
            where = {"item": item, "site": site.name, "layer": layer, **labels}
            said = read(stream[0, places]).log_softmax(-1)
            best = said.max(-1)
            words, probability = net.tokens(best.indices.tolist()), best.values.exp().cpu().numpy()
            table.append(pd.DataFrame({**where, "best": words, "probability": probability}))
            wanted += [
                pd.DataFrame({**where, "answer": str(answer), **_standing(said, token)})
                for answer, token in zip(answers, asked, strict=True)
            ]
    return LogitLens(
        pd.concat(table, ignore_index=True),
        pd.concat(wanted, ignore_index=True) if wanted else pd.DataFrame(),
    )


def _standing(said: Tensor, token: int) -> dict[str, Any]:
    own = said[:, [token]]
    rank = 1 + (said > own).sum(-1)
    return {"log_probability": own[:, 0].cpu().numpy(), "rank": rank.cpu().numpy()}


def _index(positions: Any) -> Any:
    if positions is None:
        return slice(None)
    return positions if isinstance(positions, slice) else np.atleast_1d(positions)
