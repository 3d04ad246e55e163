"""Quality: how well a language model still reads and writes under edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.behaviour.losses import to_predict
from nissl.behaviour.metrics import kl
from nissl.behaviour.prompt_scorer import PromptScorer
from nissl.behaviour.prompts import token_ids
from nissl.columns import require_columns
from nissl.errors import NisslError
from nissl.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from nissl.network.network import Network

__all__ = ["quality", "repetition"]

WINDOW = 256
NEW_TOKENS = 40  # of the continuation of a prompt


def quality(
    net: Network,
    texts: Any,
    *,
    edits: Mapping[str, Any],
    items: pd.DataFrame | None = None,
    prompts: Sequence[str] = (),
    window: int | None = None,
    batch_size: int = 4,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure what each edit costs: prediction of text, answers and fluency.

    Parameters
    ----------
    net : Network
        A language model.
    texts : texts or token ids
        What it predicts.
    edits : mapping of str to Edit, list of Edit, or WeightEdit
        By name.
    items : DataFrame, optional
        Columns ``text`` and ``answer``, of which the accuracy is taken.
    prompts : sequence of str
        Continued greedily by 40 tokens, of which the repetition is taken.
    window : int, optional
        Tokens of a window of a long text; by default 256, or the context.
    batch_size : int
        Windows in a call. Their logits are kept: window x vocabulary numbers each.
    progress : bool
        Show a bar.

    Returns
    -------
    DataFrame
        A row for each edit, and the first for none: ``loss`` (nats a token), ``perplexity``, ``kl``
        (of each token's prediction from that without edits, the mean in nats), ``accuracy`` and
        ``repetition`` (share of three-token sequences that came before in their continuation).

    Raises
    ------
    NisslError
        Edits are in force already, an edit is called "none", or there is no token to predict.

    Notes
    -----
    Repetition is one less distinct-3 of Li et al. 2016, over each continuation by itself.

    Examples
    --------
    >>> quality(net, texts, edits={"ablated": ablate(units)}).round(2)  # doctest: +SKIP
             loss  perplexity    kl
    none     2.99       19.85  0.00
    ablated  3.08       21.80  0.11
    """
    import pandas as pd

    if net.edit_blocks:
        raise NisslError("quality is measured without edits first", do="leave net.edit")
    if "none" in edits:
        raise NisslError("an edit is called 'none', which is the network as it is")
    every = {"none": [], **edits}
    window = window or min(WINDOW, net.context or WINDOW)
    found = _predicted(net, texts, every, window, batch_size, progress)
    if items is not None:
        require_columns(items, ("text", "answer"))
        scorer = PromptScorer(net, list(items["text"]), list(items["answer"]))
        right = []
        for edit in every.values():
            with net.edit(edit):
                right.append(scorer.answers(progress=progress)[1].mean())
        found["accuracy"] = right
    if len(prompts):
        ids, repeated = [row.tolist() for row in token_ids(net, list(prompts))], []
        for edit in every.values():
            with net.edit(edit):
                said = net.generate(ids, max_new_tokens=NEW_TOKENS)
            repeated.append(np.mean([repetition(row) for row in said]))
        found["repetition"] = repeated
    return pd.DataFrame(found, index=pd.Index(every, name="edit"))


def repetition(tokens: Sequence[int], *, n: int = 3) -> float:
    """Return the share of sequences of `n` tokens that came before.

    Parameters
    ----------
    tokens : sequence of int
        A text.
    n : int
        Tokens of a sequence.

    Returns
    -------
    float
        0 where none repeats, and of a text of fewer tokens.

    Examples
    --------
    >>> repetition([1, 2, 1, 2, 1, 2], n=2)
    0.6
    """
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _predicted(
    net: Network, texts: Any, every: Mapping[str, Any], window: int, batch_size: int, progress: bool
) -> dict[str, Any]:
    """Return loss, perplexity and divergence from the first of the edits, the mean over tokens."""
    import torch

    from nissl.network.run.calls import call_model, sequence_call
    from nissl.network.run.windows import windows_of

    windows = windows_of(net, texts, window=window)
    order = np.argsort([len(ids) for ids in windows.ids], kind="stable")
    total, n_tokens = np.zeros((2, len(every))), 0
    with (
        progress_bar(
            f"Predicting with {net.name}",
            total=len(order) * len(every),
            unit="windows",
            progress=progress,
        ) as advance,
        torch.inference_mode(),
    ):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            longest = max(len(windows.ids[r]) for r in rows)
            row, column, wanted = to_predict(windows, rows, np.arange(longest - 1))
            n_tokens += len(wanted)
            reference: Any = None
            for number, edit in enumerate(every.values()):
                call = sequence_call(net, [windows.ids[r] for r in rows], padding="right")
                with net.edit(edit):
                    logits = call_model(net, call).logits[row, column].float()
                reference = logits if reference is None else reference
                said = logits.log_softmax(-1)[torch.arange(len(wanted)), torch.from_numpy(wanted)]
                total[0, number] -= float(said.double().sum())
                total[1, number] += float(kl(logits, reference).double().sum())
                advance(len(rows))
    if not n_tokens:
        raise NisslError("there is no token to predict", do="give texts of at least two tokens")
    loss, divergence = total / n_tokens
    return {"loss": loss, "perplexity": np.exp(loss), "kl": divergence}
