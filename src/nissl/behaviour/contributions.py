"""What every neuron contributes to its layer's output, on the tokens of an answer and on others."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.columns import require_columns
from nissl.errors import NisslError
from nissl.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd
    from torch import Tensor

    from nissl.network import Network
    from nissl.recording import Recording

__all__ = ["answer_contributions", "contributions"]

Array = NDArray[np.floating[Any]]
PARTS = ("answer", "other")


def contributions(values: ArrayLike, output_weights: ArrayLike) -> Array:
    """Return the size of what each neuron writes over the size of what its whole layer writes.

    Parameters
    ----------
    values : array, shape (n_tokens, n_units)
        Activity of a layer's neurons.
    output_weights : array, shape (n_units, d_model)
        What each writes where its activity is one.

    Returns
    -------
    array, shape (n_tokens, n_units)
        |activity| x norm of the output weights, over the norm of the layer's output; 0 where the
        layer writes nothing.

    Notes
    -----
    Source: Gao et al. 2025, section 2, after the CETT of Zhang et al. 2024.

    Examples
    --------
    >>> contributions([[1.0, -1.0]], [[3.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.6, 0.8]]
    """
    x, write = np.asarray(values), np.asarray(output_weights)
    size = np.abs(x) * np.linalg.norm(write, axis=1)
    output = np.linalg.norm(x @ write, axis=1)[:, None]
    return np.asarray(np.divide(size, output, out=np.zeros_like(size), where=output > 0))


def answer_contributions(
    net: Network,
    questions: pd.DataFrame,
    *,
    sites: str | Iterable[str] = "mlp.neurons",
    batch_size: int = 64,
    progress: bool = True,
) -> Recording:
    """Read questions with the answers that were given, and keep each neuron's mean contribution.

    Parameters
    ----------
    net : Network
        A language model.
    questions : DataFrame
        Columns ``text`` (the prompt) and ``said`` (how the network went on, with the space that
        begins it); the others become labels.
    sites : str or iterable of str
        Sites whose output weights are known: those of MLP neurons.
    batch_size : int
        Questions in a call.
    progress : bool
        Show a bar.

    Returns
    -------
    Recording, shape (2 x n_questions, n_units)
        Means over the tokens of the answer (``part`` "answer"), then over all others ("other") but
        the first, whose activity stands for itself. Samples carry ``question``, ``part`` and the
        labels.

    Notes
    -----
    What all prompts begin with is read once.

    Raises
    ------
    UnknownName
        A column is missing.
    NisslError
        An answer has no token, or a prompt has fewer than two.

    Examples
    --------
    >>> answer_contributions(net, questions)["part"]  # doctest: +SKIP
    """
    import pandas as pd

    from nissl.network.record.recording_of import recording_of

    ids, n_prompt = _tokens(net, questions)
    names = [site.name for site in net.find(sites)]
    weights = {name: net.output_weights(name).float().cpu().numpy() for name in names}
    sums = {name: np.zeros((2, len(ids), len(weights[name])), dtype=np.float32) for name in names}
    counts = np.stack([[len(one) for one in ids] - n_prompt, n_prompt - 1])
    with progress_bar(
        f"Reading {net.name}", total=len(ids), unit="questions", progress=progress
    ) as advance:
        for rows, begin, values in _read(net, ids, n_prompt, names, batch_size, advance):
            for name, x in values.items():
                written = x.flatten(0, 1).float().cpu().numpy()
                size = contributions(written, weights[name]).reshape(x.shape)
                # The first token of all stands for itself.
                positions = np.arange(begin, begin + x.shape[1])
                of_prompt = positions < n_prompt[rows, None]
                is_part = np.stack([~of_prompt, of_prompt & (positions > 0)])
                # What all questions share is given once.
                sums[name][:, rows] += (is_part[..., None, :] @ size)[..., 0, :]
    means = {name: sums[name] / counts[:, :, None] for name in names}
    labels = questions.drop(columns=["text", "said"]).reset_index(drop=True)
    samples = pd.concat([labels.assign(question=range(len(ids)), part=part) for part in PARTS])
    return recording_of(
        net,
        {name: mean.reshape(2 * len(ids), -1) for name, mean in means.items()},
        samples=samples,
        quantity="contribution",
        attrs={"network": net.name, "weights": net.weights_hash},
    )


def _read(
    net: Network,
    ids: list[Any],
    n_prompt: NDArray[np.int64],
    names: list[str],
    batch_size: int,
    advance: Callable[[int], None],
) -> Iterator[tuple[NDArray[np.int64], int, dict[str, Tensor]]]:
    """Yield questions, the position where reading begins, and the activity of sites from there.

    What all prompts share comes first, one row for all questions.
    """
    from nissl.network.run.caches import copied, keeps_cache
    from nissl.network.run.calls import sequence_call
    from nissl.network.run.restart import cut

    shared, cache, lengths = 0, None, np.asarray([len(one) for one in ids])
    # Other edits may act at one position or item: what they see must stay as it is.
    if keeps_cache(net) and not net.editing:
        columns = zip(*(one[:n] for one, n in zip(ids, n_prompt, strict=True)), strict=False)
        shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    if shared:
        cache = cut(net, sequence_call(net, ids[:1]), shared)[1]
        yield np.arange(len(ids)), 0, net.run(sequence_call(net, [ids[0][:shared]]), sites=names)
    # Of one length together, so that nothing is padded.
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for at in range(0, len(same), batch_size):
            rows = same[at : at + batch_size]
            call = sequence_call(net, [ids[row][shared:] for row in rows])
            if cache is not None:
                kept = copied(cache, rows=[0] * len(rows))
                call.kwargs.update(past_key_values=kept, use_cache=True)
            yield rows, shared, net.run(call, sites=names)
            advance(len(rows))


def _tokens(net: Network, questions: pd.DataFrame) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the token ids of prompt and answer together, and how many are the prompt's."""
    require_columns(questions, ("text", "said"))
    tokenizer = net.require_tokenizer()
    prompts = [tokenizer.encode(text, add_special_tokens=True) for text in questions["text"]]
    said = [tokenizer.encode(text, add_special_tokens=False) for text in questions["said"]]
    for number, (prompt, answer) in enumerate(zip(prompts, said, strict=True)):
        if len(prompt) < 2 or not answer:
            raise NisslError(
                "a question needs two tokens, and an answer one",
                where=f"question {number}",
                do="leave it out",
            )
    ids = [np.asarray(p + a, dtype=np.int64) for p, a in zip(prompts, said, strict=True)]
    return ids, np.asarray([len(prompt) for prompt in prompts])
