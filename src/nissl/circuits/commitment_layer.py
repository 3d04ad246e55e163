"""The commitment layer: from which block on a wrong answer can no longer be turned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nissl.behaviour import Behaviour, Task
from nissl.behaviour.pair_test import pairs_of
from nissl.behaviour.patching import Patching, at_position
from nissl.errors import NisslError
from nissl.methods import method
from nissl.network.edits.patch import patch
from nissl.network.run.unembed import unembed
from nissl.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["commitment_layer"]


@method(system=27)
def commitment_layer(
    behaviour: Behaviour | Task,
    *,
    sites: str | Iterable[str] = "blocks.*.resid_post",
    progress: bool = True,
) -> pd.DataFrame:
    """Find for each pair from which block on its wrong answer is certain.

    Parameters
    ----------
    behaviour : Behaviour or Task
        Clean prompts are answered rightly (the metric is above zero), corrupted ones wrongly, by a
        misleading context or another subject. Run as one batch.
    sites : str or iterable of str
        Places in the residual stream, in their order.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        A row for each pair, of numbers of sites (as many as there are for never), each the first
        from which on: ``commitment``, the wrong answer stays though all tokens before the last are
        as in the clean run; ``carried``, the last token of the clean run alone turns it; ``lens``,
        the logit lens prefers the wrong answer.

    Raises
    ------
    NisslError
        Pairs do not align, or one is not answered rightly, then wrongly.

    Notes
    -----
    Source: Bhatia et al. 2025, who tell it from decoded concepts; the two ways to patch are ours.

    Examples
    --------
    >>> commitment_layer(task).median()  # doctest: +SKIP
    """
    import pandas as pd

    pairs = pairs_of(behaviour)
    one, names = Patching(pairs, "denoising"), [site.name for site in pairs.net.find(sites)]
    one.require_pairs()
    bad = (pairs.clean_value <= 0) | (pairs.corrupted_value >= 0)
    if bad.any():
        what = f"{int(bad.sum())} pairs are not answered rightly, then wrongly"
        raise NisslError(what, where=f"pair {int(bad.int().argmax())}", do="use make_task")
    read, right, wrong = unembed(pairs.net), one.given(names), one.base(names)
    last = torch.tensor(one.lengths)[:, None, None] - 1
    margins: list[Tensor] = []
    with progress_bar("Patching", total=len(names), unit="sites", progress=progress) as advance:
        for name in names:
            place = (torch.arange(right[name].shape[1])[:, None] == last).to(right[name].device)
            context = torch.where(place, wrong[name], right[name])
            answer = torch.where(place, right[name], wrong[name])
            with pairs.net.edit_batch([patch({name: x}) for x in (context, answer)]):
                turned = [one.metric(output) for output in one.run(copies=2)]
            lens = one.metric(read(at_position(wrong[name], -1, one.lengths)))
            margins.append(torch.stack([turned[0], -turned[1], lens]).detach())
            advance(1)
    stays = torch.stack(margins, -1) <= 0  # of shape (3, pairs, sites)
    first = len(names) - stays.flip(-1).cumprod(-1).sum(-1)
    return pd.DataFrame(first.T.cpu().numpy(), columns=["commitment", "carried", "lens"])
