"""Truth neurons: units that drive a network from the untruthful to the truthful answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.recording import units_table
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, Test, paired_test
from nissl.statistics.exchangeability import require_samples

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["pass_rate", "truth"]

Array = NDArray[np.float64]
SILENT = "never contributes"


@method(system=205)
def truth(
    rec: Recording,
    *,
    labels: str = "subject",
    exchange: str = "couple",
    share: float = 0.1,
    least: float = 0.1,
    test: Test = Test(),
    progress: bool = True,
) -> Finding:
    """Find the units that contribute to the truthful answer, whatever the subject.

    Of each question it is known what every unit contributes to the truthful answer less what it
    contributes to the untruthful one. A truth neuron contributes in all subjects alike, and in
    many questions as much as few units do.

    Parameters
    ----------
    rec : Recording, shape (n_questions, n_units)
        Attributions to the truthful answer less those to the untruthful one
        (`choice_attributions`): ``quantity`` is "attribution".
    labels : str
        Sample coordinate that names the subject.
    exchange : str
        Sample coordinate of the exchangeability blocks: the questions that share their answers.
    share : float
        A unit passes in a question beyond this share of the question's largest contribution.
    least : float
        In how many of the questions, as a share, a truth neuron passes.
    test : Test
        Draws (999), tail, correction over units, alternative (two-sided), seed. The null: in each
        block at random, truthful and untruthful are swapped, so that the signs of its
        contributions are flipped.
    progress : bool
        Show a bar.

    Returns
    -------
    Finding
        One row for each unit: ``contribution`` (the mean over exchangeability blocks of a block's
        mean), its null mean, effect, p, q (two-sided); ``pass_rate``, in which share of questions
        it passes; ``agree``, the share of subjects whose own mean has the sign of the whole;
        ``kind``: "truthful" where all subjects agree that it is above zero and it passes often
        enough, "untruthful" where all agree that it is below (it passes where it contributes as
        much against the truth), else "".

    Raises
    ------
    TooFewSamples
        There is one subject only, or a subject has fewer than two blocks.
    NisslError
        The recording holds no attributions or a contribution is not finite, a block lies in several
        subjects, or `share` or `least` is no share.

    Notes
    -----
    Source: Li et al. 2025 (known to us from its abstract and a review of it), who test the mean
    difference of attributions against zero with Student's t; the shares of the largest contribution
    and of the questions are after Dai et al. 2022, section 3.3. The flipped signs, the blocks and
    the agreement of subjects are ours.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> values = rng.standard_normal((48, 5))
    >>> values[:, 2] += 2
    >>> subject, couple = np.repeat(["capitals", "plurals"], 24), np.arange(48) // 2
    >>> rec = as_recording(values, samples={"subject": subject, "couple": couple},
    ...                 quantity="attribution")
    >>> found = truth(rec, progress=False).significant().table
    >>> found[["unit", "kind"]].values.tolist()
    [['unit[2]', 'truthful']]
    """
    for name, value in (("share", share), ("least", least)):
        if not 0 <= value <= 1:
            raise NisslError(f"{name}={value} is no share", do="give a number between 0 and 1")
    values = _contributions(rec)
    subjects, blocks = coordinate(rec, labels).astype(str), coordinate(rec, exchange)
    by_block, subject_of = _blocks(values, subjects, blocks, exchange)
    require_samples(subject_of, where=labels, item="block")
    # Flipping a sign is swapping with nothing.
    found = paired_test(
        by_block,
        np.zeros_like(by_block),
        units=units_table(rec),
        score="contribution",
        method="truth",
        test=replace(test, alternative=test.alternative or "two-sided"),
        progress=progress,
    )
    whole = by_block.mean(axis=0)
    kinds = np.unique(subject_of)
    own = np.stack([by_block[subject_of == kind].mean(axis=0) for kind in kinds])
    agree = (np.sign(own) == np.sign(whole)).mean(axis=0)
    passed = np.where(whole > 0, pass_rate(values, share), pass_rate(-values, share))
    often = (agree == 1) & (whole != 0) & (passed >= least)
    said = {"share": share, "least": least, "n_questions": len(values), "n_subjects": len(kinds)}
    return found.assign(
        said,
        pass_rate=passed,
        agree=np.where(whole != 0, agree, 0.0),
        kind=np.where(often, np.where(whole > 0, "truthful", "untruthful"), ""),
        note=np.where((values == 0).all(axis=0), SILENT, found.table["note"]),
    )


def pass_rate(values: Array, share: float) -> Array:
    """Return in what share of the questions each unit contributes much of what the largest does.

    Examples
    --------
    >>> pass_rate(np.array([[1.0, 0.2, 0.0], [0.1, 2.0, -2.0]]), 0.1).tolist()
    [0.5, 1.0, 0.0]
    """
    largest = values.max(axis=1, keepdims=True)
    return np.asarray(((values >= share * largest) & (values > 0)).mean(axis=0))


def _contributions(rec: Recording) -> Array:
    quantity = str(rec.attrs.get("quantity", ""))
    values = np.asarray(rec.values, dtype=float)
    if quantity != "attribution" or not np.isfinite(values).all():
        raise NisslError(
            "a contribution is not finite"
            if quantity == "attribution"
            else "only attributions say what a unit contributes to an answer",
            where=f"quantity '{quantity}'",
            do="give choice_attributions(net, asked)",
        )
    return values


def _blocks(
    values: Array, subjects: NDArray[Any], blocks: NDArray[Any], exchange: str
) -> tuple[Array, NDArray[Any]]:
    """Return the mean of each block, shape (n_blocks, n_units), and the subject of each."""
    names, first, code = np.unique(blocks, return_index=True, return_inverse=True)
    of_block = subjects[first]
    if (of_block[code] != subjects).any():
        raise NisslError(
            "a block lies in several subjects", where=exchange, do="give blocks inside subjects"
        )
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, code, values)
    return sums / np.bincount(code)[:, None], of_block
