"""Tokens drawn at random, and repeated: what induction is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["repeated_tokens"]


def repeated_tokens(net: Network, *, n: int = 32, length: int = 25, seed: int = 0) -> Tensor:
    """Draw sequences of tokens, all different, each repeated once.

    Parameters
    ----------
    net : Network
        A language model. What its tokenizer puts before every text stands before each sequence.
    n, length : int
        Sequences, and tokens of one before it is repeated.
    seed : int
        Of the draws.

    Returns
    -------
    Tensor of int64, shape (n, [1 +] 2 x length)
        Token ids.

    Raises
    ------
    NisslError
        The network does not know so many tokens.

    Examples
    --------
    >>> from nissl.network import Network
    >>> from nissl.training import small_language_model
    >>> net = Network(small_language_model(vocabulary=16, d_model=8, n_layers=1, n_heads=2))
    >>> ids = repeated_tokens(net, n=2, length=5)
    >>> ids.shape, torch.equal(ids[:, :5], ids[:, 5:])
    (torch.Size([2, 10]), True)
    """
    size = net.vocabulary_size
    if size is None or size < length or length < 2:
        raise NisslError(
            f"{size or 'an unknown number of'} tokens give no sequences of {length} different ones",
            do="give length= from 2 to the size of the vocabulary",
        )
    rng = np.random.default_rng(seed)
    half = torch.from_numpy(np.stack([rng.permutation(size)[:length] for _ in range(n)]))
    begin = [] if net.tokenizer is None else net.tokenizer.encode("")
    first = torch.tensor(begin[:1] if len(begin) == 1 else [], dtype=torch.int64).expand(n, -1)
    return torch.cat([first, half, half], 1)
