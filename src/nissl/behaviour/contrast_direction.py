"""Contrast direction: what sets the activity on one kind of text apart from that on another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nissl.behaviour.prompts import token_ids
from nissl.errors import NisslError
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from nissl.network.network import Network

__all__ = ["contrast_direction"]


def contrast_direction(
    net: Network,
    positive: Any,
    negative: Any,
    *,
    sites: str,
    position: int = -1,
    batch_size: int = 32,
    progress: bool = True,
) -> Tensor:
    """Return the mean activity on some texts less that on others.

    Parameters
    ----------
    net : Network
        A language model; edits in force are seen.
    positive, negative : texts, chats or token ids
        Texts that differ in one respect, best in pairs that differ in nothing else.
    sites : str
        The site, such as ``blocks.14.resid_post``.
    position : int
        At which token of each text; by default the last.
    batch_size : int
        Texts in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Tensor, shape (n_units,), float32 or the network's float64
        For ``nissl.add(sites=..., by=strength * direction)``: a strength of 1 moves the mean of the
        negative texts to that of the positive ones.

    Raises
    ------
    NisslError
        There is no text on one side, a text has no such position, or `sites` names several.

    Notes
    -----
    Source: Turner et al. 2023 (one pair), Rimsky et al. 2024 (the mean over pairs).

    Examples
    --------
    >>> direction = contrast_direction(
    ...     net, ["It was superb"], ["It was dreadful"], sites="blocks.14.resid_post"
    ... )  # doctest: +SKIP
    """
    (site, *more) = net.find(sites)
    if more:
        raise NisslError(f"'{sites}' names {1 + len(more)} sites", do="give one")
    sides = [token_ids(net, texts) for texts in (positive, negative)]
    if not all(sides):
        raise NisslError("there is no text on one side", do="give positive and negative texts")
    means = []
    total = sum(map(len, sides))
    with (
        progress_bar("Contrasting", total=total, unit="texts", progress=progress) as advance,
        torch.no_grad(),
    ):
        for ids in sides:
            rows = []
            for start in range(0, len(ids), batch_size):
                batch = ids[start : start + batch_size]
                x = net.run([row.tolist() for row in batch], sites=site.name)[site.name]
                for row, tokens in zip(x, batch, strict=True):
                    place = position + (len(tokens) if position < 0 else 0)
                    if not 0 <= place < len(tokens):
                        raise NisslError(
                            f"a text has {len(tokens)} tokens, and none at position {position}",
                            where=repr("".join(net.tokens(tokens))),
                        )
                    rows.append(row[place].to(torch.promote_types(row.dtype, torch.float32)))
                advance(len(batch))
            means.append(torch.stack(rows).mean(0))
    return means[0] - means[1]
