"""Most discriminative stimuli: functional types of units, and the stimulus that tells each."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nissl.errors import NisslError, TooFewSamples
from nissl.methods import method
from nissl.network import Network
from nissl.network.gradients import Ascent, Synthesis
from nissl.network.sites.layout import reads_time_first
from nissl.progress import progress_bar

__all__ = ["DiscriminativeStimuli", "discriminative_stimuli"]

STARTS, ROUNDS = 3, 20  # beginnings, of which the best is kept; rounds of each at most


@dataclass(frozen=True)
class DiscriminativeStimuli:
    """Units by `table` (unit, cluster, margin over the next, held_out), and a stimulus a cluster.

    `responses` (n_clusters, n_units) are in deviations over the inputs; `score` is the mean margin
    of held-out units.
    """

    table: Any
    synthesis: Synthesis
    responses: np.ndarray[Any, Any]
    score: float

    def plot(self) -> Any:
        """Draw the stimuli, and the responses of units in order of cluster."""
        from nissl.statistics.figure import heatmap

        figure, order = self.synthesis.plot(), np.argsort(self.table["cluster"], kind="stable")
        figure.axes[-1].clear()
        heatmap(self.responses[:, order], label="response, sd", axes=figure.axes[-1])
        return figure


@method(system=155)
def discriminative_stimuli(
    net: Network,
    site: str,
    inputs: Any,
    n_clusters: int,
    *,
    temperature: float = 0.2,
    ascent: Ascent = Ascent(steps=50),
    seed: int = 0,
    progress: bool = True,
) -> DiscriminativeStimuli:
    """Cluster units by which stimulus drives them most; each is made to drive one cluster alone.

    Parameters
    ----------
    net, site : Network, str
        A model of the units, meant over places: `ReinitialisedNetwork` tells what margin is null.
    inputs : array, shape (n_inputs, ...)
        Typical stimuli, over which units are scaled; some begin the ascent.
    n_clusters : int
        At most: a stimulus that drives no unit most is dropped.
    temperature : float
        Of the softmax over clusters' mean responses, in units of the mean cell's strongest so far.
    ascent, seed, progress : Ascent, int, bool
        As in `synthesise`. A third of the units, drawn, are held out.

    Returns
    -------
    DiscriminativeStimuli
        With ``table``, stimuli and ``plot``. Its score does not choose ``n_clusters``.

    Raises
    ------
    NisslError
        Too few units or inputs for so many clusters, a unit is constant, or as `synthesise`.

    Examples
    --------
    >>> discriminative_stimuli(retina, "2", movies, 4).plot()  # doctest: +SKIP

    Source: Burg et al. 2024, ICLR (system 155), without its splits and merges of clusters.
    """
    import pandas as pd
    import torch

    def mean(x: Any) -> Any:
        calls = [
            some.transpose(0, 1) if reads_time_first(net.model) else some for some in x.split(16)
        ]
        parts = [next(iter(net.run(call, sites=site).values())) for call in calls]
        return torch.cat([part.reshape(len(part), -1, part.shape[-1]).mean(1) for part in parts])

    rng, x = np.random.default_rng(seed), torch.tensor(np.asarray(inputs, dtype=np.float32))
    base = mean(x)
    shift, sd, n = base.mean(0), base.std(0), base.shape[1]
    held = rng.permutation(np.arange(n) % 3 == 0)
    own, fits = np.flatnonzero(~held), []
    if not 2 <= n_clusters <= min(len(own) // 2, len(x)):
        what = f"{n_clusters} clusters of {len(own)} units not held out, from {len(x)} inputs"
        raise TooFewSamples(what, where=site, do="give 2 or more, of two units each")
    if not (temperature > 0 and bool((sd > 1e-6 * base.abs().amax(0)).all())):
        raise NisslError("a unit is constant or not finite, or temperature not above 0", where=site)
    with progress_bar("Clustering", total=STARTS, unit="starts", progress=progress) as advance:
        for _ in range(STARTS):
            label = rng.permutation(np.arange(len(own)) % n_clusters)
            stimuli = x[rng.choice(len(x), n_clusters, replace=False)]
            strength = float(((base - shift) / sd)[:, own].amax(0).mean())  # of what drives most
            for _ in range(ROUNDS):
                weights = np.eye(len(stimuli))[label] / (
                    np.bincount(label) * temperature * strength
                )
                groups = torch.zeros(n, len(stimuli), device=sd.device)
                groups[own] = torch.tensor(weights).to(sd) / sd[own, None]
                goals = [partial(_contrast, groups, shift, k) for k in range(len(stimuli))]
                how: Any = {"start": stimuli, "ascent": ascent, "seed": seed, "progress": False}
                made = net.synthesise([(site, goal) for goal in goals], **how)
                r = ((mean(torch.tensor(made.stimuli)) - shift) / sd).cpu().numpy()
                strength = max(float(r[:, own].max(axis=0).mean()), strength)
                kept, new = np.unique(r[:, own].argmax(axis=0), return_inverse=True)
                if len(kept) == 1 or np.array_equal(kept[new], label):
                    break
                label, stimuli = new, torch.tensor(made.stimuli[kept])
            names = tuple(f"cluster {k}" for k in range(len(kept)))
            parts = made.stimuli[kept], made.activity[kept], made.trace[:, kept]
            margin = np.ptp(np.sort(r[kept], axis=0)[-2:], axis=0)  # 0 where one cluster is left
            fits.append((Synthesis(names, *parts), r[kept], margin))
            advance(1)
    made, r, margin = max(fits, key=lambda fit: fit[2][own].mean())
    units = {"unit": [f"{site}[{i}]" for i in range(n)], "cluster": r.argmax(axis=0)}
    table = pd.DataFrame(units).assign(margin=margin, held_out=held)
    return DiscriminativeStimuli(table, made, r, float(margin[held].mean()))


def _contrast(groups: Any, shift: Any, k: int, x: Any) -> Any:
    """Return the log of cluster k's softmax, over that of chance; exact where it saturates."""
    from torch.nn.functional import logsigmoid

    means = (x.reshape(-1, x.shape[-1]).mean(0) - shift) @ groups
    others = means[[i for i in range(len(means)) if i != k]].logsumexp(0)
    return logsigmoid(means[k] - others) + np.log(len(means))
