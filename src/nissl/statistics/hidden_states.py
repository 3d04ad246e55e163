"""Hidden states: a chain of states, each with an emission of its own (hidden Markov models)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, TooFewSamples, require_known
from nissl.progress import progress_bar
from nissl.statistics.emissions import EMISSIONS, NOTHING, Emission
from nissl.statistics.folds import folds
from nissl.statistics.series import read_series, run_starts

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["Past", "States", "hidden_states"]

Array = NDArray[np.floating[Any]]
Inputs = ArrayLike | Callable[[Array, NDArray[np.int64]], Array]
N_ITERATIONS, TOLERANCE = 500, 1e-6  # of expectation maximisation; gain in nats a sample
MOVES = 0.1  # that every state makes to every other before any data


@dataclass(frozen=True)
class Past:
    """Inputs made of recent activity: of all units, in the samples before, and of the same run.

    Parameters
    ----------
    window : int
        How many samples back.
    decay : float, optional
        A single input a unit: samples weighted by decay, decay squared, ..., divided by their sum.
        None: an input for each unit and lag, the nearest lag first.

    Examples
    --------
    >>> Past(2)(np.array([[1.0], [2.0], [4.0]]), np.array([0])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [2.0, 1.0]]
    """

    window: int = 5
    decay: float | None = None

    def __call__(self, x: Array, starts: NDArray[np.int64]) -> Array:
        """Return inputs, shape (n_samples, n_inputs)."""
        run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(x)))
        lags = np.zeros((self.window, *x.shape))
        for k in range(1, min(self.window, len(x) - 1) + 1):
            lags[k - 1, k:] = x[:-k] * (run[k:] == run[:-k])[:, None]
        if self.decay is None:
            return np.concatenate(list(lags), axis=1)
        kernel = self.decay ** np.arange(1, self.window + 1)
        return np.asarray(np.einsum("k,ktu->tu", kernel / kernel.sum(), lags))


@dataclass(frozen=True, repr=False)
class States:
    """Hidden states of series.

    Parameters
    ----------
    emission : Emission
        What each state emits, as fitted.
    initial : array, shape (n_states,)
        Probability of each state at the beginning of a run.
    transition : array, shape (n_states, n_states)
        Probability of moving from one (row) to another.
    posterior : array, shape (n_samples, n_states)
        Probability of each state at each sample, given all of the run.
    log_likelihood : float
        Of the series, in nats.
    emitted : array, shape (n_samples, n_states)
        Log-likelihood of each sample in each state.
    starts : array of int
        The first sample of every run.
    inputs : callable or None
        What makes inputs of series.
    held_out : DataFrame or None
        Where several numbers of states were asked for: mean log-likelihood of a sample that was
        not fitted, in nats, one row for each number and column for each fold.

    Examples
    --------
    >>> x = np.repeat([0.0, 5.0, 0.0], 20)[:, None] + np.random.default_rng(0).normal(size=(60, 1))
    >>> found = hidden_states(x, 2, progress=False)
    >>> found
    2 states of 60 samples: Gaussian
    >>> path = found.states()
    >>> bool((path == path[0]).sum() in (20, 40))
    True
    """

    emission: Emission
    initial: Array
    transition: Array
    posterior: Array
    log_likelihood: float
    emitted: Array
    starts: NDArray[np.int64]
    inputs: Any = None
    held_out: pd.DataFrame | None = None

    def states(self) -> NDArray[np.int64]:
        """Return the likeliest sequence of states (Viterbi), shape (n_samples,)."""
        from nissl.statistics._chain_kernel import best_path

        chain = _logs(self.initial, self.transition)
        parts = np.split(self.emitted, self.starts[1:])
        return np.concatenate([best_path(np.ascontiguousarray(p), *chain) for p in parts])

    def infer(self, rec: Recording | ArrayLike, inputs: Inputs | None = None) -> States:
        """Return the states of other series under the same parameters.

        Parameters
        ----------
        rec : Recording or array, shape (n_samples, n_units)
            The series.
        inputs : array or callable, optional
            Where those of the fit were an array, the inputs of these series.

        Returns
        -------
        States
            With the posterior and the log-likelihood of these series.
        """
        x, starts = _read(rec)
        given = self.inputs if inputs is None else inputs
        made, *_ = _expect(self, x, _inputs(given, x, starts), starts)
        return made

    def plot(self) -> Figure:
        """Draw posteriors along samples, how states follow each other, and held-out likelihoods.

        Returns
        -------
        matplotlib Figure
            A new one.
        """
        from nissl.statistics.figure import COLOURS, curve, heatmap, panels

        n = len(self.initial)
        figure, axes = panels(2 if self.held_out is None else 3)
        colours = [COLOURS[k % len(COLOURS)] for k in range(n)]
        axes[0].stackplot(np.arange(len(self.posterior)), self.posterior.T, colors=colours)
        axes[0].set(xlabel="sample", ylabel="posterior", title=repr(self), ylim=(0, 1))
        for start in self.starts[1:]:
            axes[0].axvline(start, color="black", linewidth=0.6)
        heatmap(self.transition, label="probability", numbers=n <= 8, axes=axes[1])
        axes[1].set(xlabel="to", ylabel="from")
        if self.held_out is not None:
            curve(self.held_out.mean(axis=1), axes=axes[2]).set_ylabel("held-out nats a sample")
        return figure

    def __repr__(self) -> str:
        name = type(self.emission).__name__
        return f"{len(self.initial)} states of {len(self.posterior):,} samples: {name}"


def hidden_states(
    rec: Recording | ArrayLike,
    n_states: int | Sequence[int],
    *,
    emission: str | Emission = "gaussian",
    inputs: Inputs | None = None,
    n_folds: int = 5,
    n_starts: int = 5,
    seed: int = 0,
    progress: bool = True,
) -> States:
    """Find hidden states that follow each other, by expectation maximisation (Baum and Welch).

    Parameters
    ----------
    rec : Recording or array, shape (n_samples, n_units)
        Activity in the order of time. Runs (``run``, ``trial``, ``subject`` and the like, and what
        jumps of ``time`` part) are chains of their own.
    n_states : int or sequence of int
        How many; of several numbers the one under which held-out data are likeliest.
    emission : str or Emission
        "gaussian", "poisson", "categorical", "glm"; or one with options, as ``Glm("gaussian")``.
    inputs : array, shape (n_samples, n_inputs), or callable, optional
        What a regression is on; `Past` makes it of recent activity.
    n_folds : int
        Folds by which numbers of states are compared: of whole runs where there are as many, else
        of stretches of neighbouring samples.
    n_starts : int
        Fits from different beginnings, of which the likeliest is kept.
    seed : int
        Of the beginnings.
    progress : bool
        Show a bar.

    Returns
    -------
    States
        Parameters, posteriors and log-likelihood.

    Raises
    ------
    TooFewSamples
        There are fewer samples than a state needs.
    NisslError
        Activity does not suit the emission.

    Notes
    -----
    Every state is given one sample of the whole data, and every transition a tenth of a move, so
    that no state shrinks to one sample; parameters are therefore no pure maximum of the likelihood.

    Source: Rabiner 1989, Proceedings of the IEEE 77, 257.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> counts = rng.poisson(np.repeat([[1.0], [9.0], [1.0], [9.0]], 50, axis=0))
    >>> found = hidden_states(counts, [1, 2, 3], emission="poisson", n_starts=2, progress=False)
    >>> len(found.initial), np.sort(found.emission.rate[:, 0]).round().tolist()
    (2, [1.0, 9.0])
    """
    import pandas as pd

    if isinstance(emission, str):
        require_known("emission", emission, list(EMISSIONS))
        emission = EMISSIONS[emission]
    x, starts = _read(rec)
    design = _inputs(inputs, x, starts)
    several = isinstance(n_states, Sequence)
    numbers = list(n_states) if isinstance(n_states, Sequence) else [int(n_states)]
    if min(numbers, default=0) < 1 or max(numbers) * 2 > len(x):
        raise TooFewSamples(f"{numbers} states of {len(x)} samples", do="give 1 or more, but fewer")
    run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(x)))
    parts = []
    if several:
        parts = folds(run if len(starts) >= n_folds else None, n_samples=len(x), n=n_folds)
    total = n_starts * len(numbers) * len(parts) + n_starts
    kept = inputs if callable(inputs) else None
    with progress_bar("Fitting states", total=total, unit="fits", progress=progress) as advance:

        def fit(rows: NDArray[np.int64], n: int) -> States:
            cut = np.diff(rows, prepend=rows[0] - 2) != 1
            cut |= np.diff(run[rows], prepend=-1) != 0
            data = x[rows], design[rows] if design.size else design, np.flatnonzero(cut)
            rngs = [np.random.default_rng([seed, k]) for k in range(n_starts if n > 1 else 1)]
            made = [_maximise(emission, n, *data, rng) for rng in rngs]
            advance(n_starts)
            return max(made, key=lambda one: one.log_likelihood)

        scores = np.empty((len(numbers), len(parts)))
        for f, (train, test) in enumerate(parts):
            new = run_starts(np.cumsum(np.diff(test, prepend=test[0]) > 1) + run[test] * len(x))
            held = x[test], design[test] if design.size else design, new
            for i, n in enumerate(numbers):
                scores[i, f] = _expect(fit(train, n), *held)[0].log_likelihood / len(test)
        best = numbers[int(scores.mean(axis=1).argmax())] if several else numbers[0]
        found = fit(np.arange(len(x)), best)
    index = pd.Index(numbers, name="states")
    table = pd.DataFrame(scores, index=index) if several else None
    return replace(found, inputs=kept, held_out=table)


def _read(rec: Any) -> tuple[Array, NDArray[np.int64]]:
    x, _, stretch, _ = read_series(rec, least_units=1)
    return x, run_starts(stretch)


def _inputs(given: Any, x: Array, starts: NDArray[np.int64]) -> Array:
    if given is None:
        return NOTHING
    made = np.asarray(given(x, starts) if callable(given) else given, dtype=np.float64)
    if made.ndim != 2 or len(made) != len(x) or not np.isfinite(made).all():
        raise NisslError(
            f"inputs have shape {made.shape}, or hold NaN or infinity",
            where="inputs",
            do=f"give finite numbers, ({len(x)}, n_inputs)",
        )
    return made


def _logs(initial: Any, transition: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.log(initial), np.log(transition)


def _expect(
    given: States, x: Array, inputs: Array, starts: NDArray[np.int64]
) -> tuple[States, Array, Array]:
    """Return states of series under parameters, summed moves, and first states of runs."""
    from nissl.statistics._chain_kernel import forward_backward

    emitted = np.ascontiguousarray(given.emission.log_likelihood(x, inputs), dtype=np.float64)
    chain = _logs(given.initial, given.transition)
    parts = [forward_backward(part, *chain) for part in np.split(emitted, starts[1:])]
    posterior = np.concatenate([part[1] for part in parts])
    told = float(sum(part[0] for part in parts))
    if not np.isfinite(told):
        run = int(np.argmin([np.isfinite(part[0]) for part in parts]))
        raise NisslError(
            "no sequence of states could have made these series", where=f"run {run}", do="fit them"
        )
    made = replace(
        given,
        posterior=posterior,
        log_likelihood=told,
        emitted=emitted,
        starts=starts,
        held_out=None,
    )
    return made, np.sum([part[2] for part in parts], axis=0), posterior[starts].sum(axis=0)


def _maximise(
    emission: Emission,
    n: int,
    x: Array,
    inputs: Array,
    starts: NDArray[np.int64],
    rng: np.random.Generator,
) -> States:
    """Fit from one beginning."""
    posterior = _beginning(n, x, inputs, rng)
    initial = np.full(n, 1 / n)
    transition = np.full((n, n), 0.1 / n) + 0.9 * np.eye(n)
    emission = emission.fitted(x, inputs, posterior)
    made = States(emission, initial, transition, posterior, -np.inf, posterior, starts)
    for _ in range(N_ITERATIONS):
        before = made.log_likelihood
        made, moves, first = _expect(made, x, inputs, starts)
        settled = getattr(made.emission, "settled", True)
        if settled and abs(made.log_likelihood - before) < TOLERANCE * len(x):
            break
        made = replace(
            made,
            emission=made.emission.fitted(x, inputs, made.posterior),
            initial=(first + MOVES / n) / (first.sum() + MOVES),
            transition=(moves + MOVES / n) / (moves.sum(axis=1, keepdims=True) + MOVES),
        )
    return _expect(made, x, inputs, starts)[0]


def _beginning(n: int, x: Array, inputs: Array, rng: np.random.Generator) -> Array:
    """Return shares of states to begin with: every stretch of some samples is nearest to one state.

    Nearest in mean activity and, where there are inputs, in how activity goes with them.
    """
    length = max(1, min(int(rng.choice([1, 5, 20, 50])), len(x) // (2 * n)))
    stretch = np.arange(len(x)) // length
    z = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    if inputs.size and length > 1:
        drive = (inputs - inputs.mean(axis=0)) / np.maximum(inputs.std(axis=0), 1e-12)
        z = np.concatenate([z, (z[:, :, None] * drive[:, None]).reshape(len(z), -1)], axis=1)
    mean = np.zeros((stretch[-1] + 1, z.shape[1]))
    np.add.at(mean, stretch, z)
    mean /= np.bincount(stretch)[:, None]
    centres = mean[rng.choice(len(mean), n, replace=False)]
    for _ in range(10):
        nearest = ((mean[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        centres = np.stack(
            [
                mean[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k]
                for k in range(n)
            ]
        )
    return np.asarray(0.8 * np.eye(n)[nearest][stretch] + 0.2 / n)
