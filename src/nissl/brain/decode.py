"""Decode: how well labels can be read from activity, on runs that were left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nissl.errors import NisslError, require_known
from nissl.progress import tracked
from nissl.statistics import Finding, Test, against_null
from nissl.statistics.decoders import KINDS, Items, decoded, ranks, score_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from nissl.recording import Recording

__all__ = ["Decoding", "decode"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Decoding:
    """What was read from activity in samples that were left out.

    Parameters
    ----------
    finding : Finding
        A row for all samples: the score, its null mean, p.
    predictions : DataFrame
        A row for each sample: ``fold``, ``label``, ``predicted``; of vectors ``rank``.
    kind : {"classes", "numbers", "angles", "vectors"}
        Of labels. The score is the accuracy, a mean over classes; the correlation within folds; the
        cosine of the error; or the rank of the right vector: the share of the fold's others that
        are less correlated with the predicted one.
    """

    finding: Finding
    predictions: pd.DataFrame
    kind: str

    def __repr__(self) -> str:
        row = self.finding.table.iloc[0]
        said = f"Decoding of {self.kind}: {self.finding.score} {self.score:.3f}"
        if "p" not in row:
            return said
        return f"{said} (chance {row['null_mean']:.3f}, p {row['p']:.2g})"

    @property
    def score(self) -> float:
        """The score of all samples together."""
        return float(self.finding.table[self.finding.score].iloc[0])

    @property
    def by_fold(self) -> pd.Series[float]:
        """The score of each fold."""
        import pandas as pd

        groups = self.predictions.groupby("fold", sort=False)
        if self.kind == "vectors":
            return groups["rank"].mean()
        scored = {f: score_of(g["label"], g["predicted"], self.kind) for f, g in groups}
        return pd.Series(scored, name=self.finding.score)

    @property
    def confusion(self) -> pd.DataFrame:
        """How often each class (rows) was taken for each class (columns), in shares of the row."""
        import pandas as pd

        if self.kind != "classes":
            raise NisslError(f"{self.kind} are not confused", do="look at .predictions")
        label, predicted = self.predictions["label"], self.predictions["predicted"]
        made = pd.crosstab(label, predicted, normalize="index")
        return made.reindex(columns=made.index, fill_value=0.0)

    def plot(self) -> Figure:
        """Draw the score by fold beside chance, and the confusion of classes, or the predictions.

        Returns
        -------
        Figure
            Two panels.
        """
        from nissl.statistics.figure import NULL, bar, heatmap, panels

        figure, (left, right) = panels(2)
        bar(self.by_fold.rename(index=str), axes=left)
        row = self.finding.table.iloc[0]
        if "null_mean" in row:
            left.axhline(row["null_mean"], color=NULL, linestyle=":", label="chance")
            left.legend(frameon=False, fontsize=7)
        left.set(ylabel=self.finding.score, xlabel="fold")
        left.set_title(repr(self), fontsize=8)
        if self.kind == "classes":
            heatmap(self.confusion, label="share", axes=right)
            right.set(xlabel="predicted", ylabel="label")
        elif self.kind == "vectors":
            right.hist(self.predictions["rank"], bins=20)
            right.set(xlabel="rank of the right vector", ylabel="samples")
        else:
            right.plot(self.predictions["label"], self.predictions["predicted"], ".", alpha=0.3)
            right.set(xlabel="label", ylabel="predicted")
        return figure


def decode(
    rec: Recording | ArrayLike,
    labels: str | ArrayLike,
    *,
    folds: int | str | ArrayLike = 5,
    model: Any = "ridge",
    kind: str | None = None,
    items: str | None = None,
    test: Test | None = Test(),
    progress: bool = True,
) -> Decoding:
    """Read labels from activity, each sample by a model that was fitted to other runs.

    Parameters
    ----------
    rec : Recording, or array, shape (n_samples, n_units)
        Activity, samples in order of time.
    labels : str, or array, shape (n_samples,) or (n_samples, n_dimensions)
        A sample coordinate, or the labels; vectors (features of the stimulus) are retrieved.
    folds : int, str or array, shape (n_samples,)
        Blocks of neighbouring samples, of each class by itself; or the run, subject or session of
        each sample, left out one at a time. Under the null labels move inside them.
    model : "ridge", or estimator
        Ridge regression, its penalty chosen inside the training runs; or anything with ``fit`` and
        ``predict`` of scikit-learn or pyriemann, which is cloned.
    kind : {"classes", "numbers", "angles", "vectors"}, optional
        By default classes, but for labels that are fractions: numbers. Angles are in radians.
    items : str, optional
        A sample coordinate, such as a trial, whose samples are one item, (n_units, n_times) to an
        estimator, flat to ridge.
    test : Test or None
        Draws (100 for ridge, else 19) of labels moved inside runs as `decoding_null` says, tail,
        seed. None: no null.
    progress : bool
        Show a bar.

    Returns
    -------
    Decoding
        Score, null, predictions, confusion, picture.

    Raises
    ------
    TooFewSamples
        There are fewer runs than two, or labels can be moved in fewer than 20 ways.
    NotExchangeable
        Activity hangs together over what the null would move.
    NisslError
        Labels do not vary, activity is not finite, or items differ in length or in label.

    Notes
    -----
    Units are standardised by training samples. Source of the null: Etzel 2015.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> label, run = np.arange(120) % 3, np.repeat(np.arange(6), 20)
    >>> x = rng.standard_normal((120, 10)) + 2 * np.eye(3, 10)[label]
    >>> found = decode(x, label, folds=run, progress=False)
    >>> bool(found.score > 0.8), bool(found.finding.table["p"][0] < 0.05)
    (True, True)
    """
    import pandas as pd

    if isinstance(model, str):
        require_known("model", model, ["ridge"])
    given = Items.of(rec, labels, folds=folds, items=items, kind=kind)
    y, fold, score = given.y, given.fold, KINDS[given.kind]
    orders, null = given.orders(test, 100 if isinstance(model, str) else 19)
    predicted = given.empty(len(orders))
    each = tracked(given.parts, f"Decoding {given.kind}", unit="folds", progress=progress)
    for train, rest in each:
        how = (train, rest, given.kind, given.inner(train))
        predicted[:, rest] = decoded(model, given.x, y[orders], *how)
    scores = [given.score(made, order) for order, made in zip(orders, predicted, strict=True)]
    said = {"label": y, "predicted": predicted[0]}
    if given.kind == "vectors":
        said = {"rank": ranks(y, predicted[0], fold)}
    if test is None:
        table = pd.DataFrame({"unit": ["all"], score: scores})
        finding = Finding(table, "decode", "none", score=score)
    else:
        about: Any = {"score": score, "method": "decode", "null": null, "test": test}
        about |= {"units": ["all"], "alternative": "greater"}
        finding = against_null(scores[:1], np.c_[scores[1:]], **about)
    return Decoding(finding, pd.DataFrame({"fold": fold, **said}), given.kind)
