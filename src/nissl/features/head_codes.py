"""Head codes: attention heads told by integer codes that only one of two sets of texts has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from nissl.features.fit import Schedule
from nissl.features.sae import sae
from nissl.methods import method
from nissl.network import nodes_of
from nissl.network.record.recorder import record
from nissl.recording import aggregate, as_recording
from nissl.statistics import Finding, Test, permutation_test

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["head_codes"]

FEATURES, SEEN, BATCH = 256, 200_000, 512


@method(system=273)
def head_codes(
    net: Network,
    positive: list[str],
    negative: list[str],
    *,
    sites: str = "attn.z",
    how: Literal["mean", "last", "max"] = "last",
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Score heads by the share of positive texts that have a code which no negative text has.

    Parameters
    ----------
    net, positive, negative
        A language model, texts that need its circuit, and like texts that do not.
    sites, how
        Sites of heads, and what `aggregate` makes of the tokens of a text.
    test, progress
        Texts are exchanged. The seed is the dictionary's too.

    Returns
    -------
    Finding
        A row for each head: ``positive_only``, effect, p, q. A code is the largest of a
        dictionary's features of all heads, each of which is first standardised (ours).

    Source: O'Neill & Bui 2024, section 3.
    """
    nodes, n = nodes_of(net, sites, by="head"), len(positive) + len(negative)
    rec: Any = record(net, [*positive, *negative], sites=nodes.names, progress=progress)
    x = aggregate(rec, by="document", how=how).values.reshape(n, len(nodes), -1)
    x = x - x.mean(0)
    x = (x / np.maximum(x.std((0, 2), keepdims=True), 1e-12)).astype(np.float32)
    flat = as_recording(x.reshape(-1, x.shape[-1]))
    schedule = Schedule(samples=SEEN, batch_size=min(BATCH, len(flat) // 2), learning_rate=1e-2)
    options: Any = {"schedule": schedule, "seed": test.seed, "progress": progress}
    found = sae(flat, n_features=FEATURES, kind="relu", **options)
    with torch.no_grad():
        codes = found.encode(torch.from_numpy(x)).argmax(-1).double().numpy()
    options = {"exchange": np.arange(n), "test": test, "method": "head_codes", "progress": progress}
    units = as_recording(codes, units=nodes.table())
    return permutation_test(units, np.arange(n) < len(positive), score=positive_only, **options)


def positive_only(codes: Any, labels: Any) -> Any:
    """Return the share of positive texts whose code no negative text has, for each head."""
    return np.array([(~np.isin(x[labels], x[~labels])).mean() for x in codes.T])
