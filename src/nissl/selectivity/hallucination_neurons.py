"""H-neurons: the few neurons whose contribution to an answer tells that the answer is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nissl.errors import NisslError
from nissl.methods import method
from nissl.recording import units_table
from nissl.recording.labels import coordinate
from nissl.statistics import Finding, PermutedLabels, Test, against_null, stratified_auroc
from nissl.statistics.sparse_probe import balanced, deviation, sparse_probe
from nissl.statistics.stratified import permuted_inside

if TYPE_CHECKING:
    from nissl.recording import Recording

__all__ = ["hallucination_neurons"]

Array = NDArray[np.floating[Any]]
NOT_CHOSEN, SILENT = "not tested: no positive weight", "not tested: never active"


@method(system=167)
def hallucination_neurons(
    rec: Recording,
    *,
    tested: Recording,
    labels: str = "wrong",
    subject: str = "subject",
    kind: str | None = None,
    other_tokens: bool = True,
    share: float = 0.001,
    test: Test = Test(),
) -> Finding:
    """Find neurons that contribute more to wrong answers, and test them on other subjects.

    A logistic probe with an L1 penalty tells wrong answers from right ones and from all other
    tokens. H-neurons are those of positive weight; the penalty is the least that leaves at most a
    stated share of all neurons. They are tested, and the probe is, on subjects it has not seen.

    Parameters
    ----------
    rec : Recording, shape (2 x n_questions, n_units)
        Contributions to the tokens of each answer and to the other tokens (`answer_contributions`),
        told apart by the coordinate ``part``.
    tested : Recording, shape (2 x n_tested, n_units)
        The same for other subjects.
    labels : str
        Sample coordinate that says which questions were answered wrongly.
    subject : str
        Sample coordinate of what is asked about; none may be in both recordings.
    kind : str, optional
        Sample coordinate of the kind of question. With it the probe weighs right and wrong alike in
        each kind, and answers are compared inside their kind alone: kinds differ in difficulty, and
        a neuron that knows the kind knows nothing of the answer.
    other_tokens : bool
        Whether the probe tells wrong answers from other tokens too, as in the paper. A neuron that
        is active at answers of any kind is then chosen as well, since no other token is a wrong
        answer. False tells them from right answers alone.
    share : float
        How many of all neurons may be H-neurons.
    test : Test
        Draws (999), tail, correction over the H-neurons, seed. The null: labels of answers are
        permuted over subjects that were asked about in the same kinds.

    Returns
    -------
    Finding
        One row for each unit: ``weight`` in the probe, of contributions in standard deviations;
        ``h_neuron``, whether it is above zero; ``auroc``, the chance that the neuron's contribution
        to a wrong answer exceeds that to a right one among tested subjects, with effect, p and q
        for H-neurons. The provenance has the probe's own ``probe_auroc``, ``probe_null_mean``,
        ``probe_p``, and ``n_h_neurons``.

    Raises
    ------
    TooFewSamples
        There are no right or no wrong answers, in one of the recordings or in every kind.
    NisslError
        A subject is in both recordings, units differ, contributions are not finite, or no neuron
        has a positive weight.

    Notes
    -----
    Source: Gao et al. 2025, section 2 (contributions, the three negative groups, the L1 probe and
    positive weights). Standardising, the choice of the penalty by the share, weights by kind, the
    tests and their null are ours.

    Examples
    --------
    >>> from nissl.recording import as_recording
    >>> rng = np.random.default_rng(0)
    >>> def answers(first):
    ...     wrong, values = np.arange(60) % 2 == 0, rng.random((120, 50))
    ...     values[:60, 7] += wrong
    ...     samples = {"wrong": np.tile(wrong, 2), "part": np.repeat(["answer", "other"], 60),
    ...                "subject": np.tile(np.arange(60) + first, 2)}
    ...     return as_recording(values, samples=samples)
    >>> found = hallucination_neurons(answers(0), tested=answers(60), share=0.02)
    >>> found.significant().units, found.provenance["probe_p"]
    (['unit[7]'], 0.001)
    """
    test.require(null=(None,))
    train, held = (_Questions.of(r, labels, subject, kind) for r in (rec, tested))
    _require_apart(rec, tested, train, held)
    if not 0 < share < 1:
        raise NisslError(f"share={share} is no share", do="give a number between 0 and 1")
    most = max(1, int(share * rec.sizes["unit"]))
    weight, penalty = sparse_probe(
        train.answers,
        train.others,
        train.wrong,
        most=most,
        kind=train.kind,
        other_tokens=other_tokens,
    )
    chosen = np.flatnonzero(weight > 0)
    if not len(chosen):
        raise NisslError("no neuron contributes more to wrong answers", do="ask more questions")
    scale = deviation(np.concatenate([train.answers, *[train.others] * other_tokens]))
    probe = ((held.answers / scale) @ weight)[:, None]
    n_permutations = test.draws(999)
    draws = permuted_inside(held.wrong, held.subject, held.kind, n_permutations, seed=test.seed)
    of_probe = _against(draws, probe, held, ["probe"], replace(test, correction=None))
    table = units_table(rec)
    names = np.asarray(table["unit"]).astype(str)
    of_units = _against(draws, held.answers[:, chosen], held, names[chosen].tolist(), test)
    score = stratified_auroc(held.answers, held.wrong, held.kind)
    silent = ~(train.answers.any(axis=0) | held.answers.any(axis=0))
    table = table.assign(
        weight=weight,
        h_neuron=weight > 0,
        auroc=score,
        effect=score - 0.5,
        null_mean=0.5,
        p=1.0,
        note=np.where(silent, SILENT, NOT_CHOSEN),
        **({} if test.correction is None else {"q": 1.0}),
    )
    for column in table.columns.intersection(["effect", "null_mean", "p", "q", "note"]):
        table.loc[chosen, column] = of_units.table[column].to_numpy()
    found = of_probe.table.iloc[0]
    said = {
        **of_units.provenance,
        "n_permutations": n_permutations,
        "seed": test.seed,
        "share": share,
        "other_tokens": int(other_tokens),
        "penalty": penalty,
        "n_h_neurons": len(chosen),
        "probe_auroc": float(found["auroc"]),
        "probe_null_mean": float(found["null_mean"]),
        "probe_p": float(found["p"]),
        "n_questions": len(train.wrong),
        "n_tested": len(held.wrong),
    }
    null = PermutedLabels(exchange=subject, within=kind).name
    return Finding(table, "hallucination_neurons", null, said, "auroc")


@dataclass(frozen=True)
class _Questions:
    """Contributions to answers and to other tokens, question by question."""

    answers: Array
    others: Array
    wrong: NDArray[np.bool_]
    subject: NDArray[Any]
    kind: NDArray[Any]

    @classmethod
    def of(cls, rec: Recording, labels: str, subject: str, kind: str | None) -> _Questions:
        part = coordinate(rec, "part").astype(str)
        answer, other = (np.flatnonzero(part == name) for name in ("answer", "other"))
        names = (labels, subject) if kind is None else (labels, subject, kind)
        columns = [coordinate(rec, name) for name in names]
        if not len(answer) or any(
            len(answer) != len(other) or (c[answer] != c[other]).any() for c in columns
        ):
            raise NisslError(
                "answers and other tokens do not belong to the same questions",
                where="part",
                do="give answer_contributions(net, questions), all questions in both parts",
            )
        values = np.asarray(rec.values)
        if not np.isfinite(values).all():
            raise NisslError("a contribution is not finite", do="leave that question out")
        wrong, about = columns[0][answer].astype(bool), columns[1][answer]
        kinds = columns[2][answer].astype(str) if kind else np.full(len(answer), "question")
        balanced(wrong, kinds)  # refuses where nothing can be told apart
        return cls(values[answer], values[other], wrong, about, kinds)


def _against(
    draws: NDArray[np.bool_],
    values: Array,
    held: _Questions,
    units: list[str],
    test: Test,
) -> Finding:
    """Test by permuted labels whether each column is larger at wrong answers."""
    return against_null(
        stratified_auroc(values, held.wrong, held.kind),
        stratified_auroc(values, draws, held.kind),
        units=units,
        score="auroc",
        method="hallucination_neurons",
        null="",
        alternative="greater",
        test=test,
    )


def _require_apart(rec: Recording, tested: Recording, train: _Questions, held: _Questions) -> None:
    if not np.array_equal(rec["unit"].values, tested["unit"].values):
        raise NisslError("the two recordings have other units", do="record the same sites")
    both = np.intersect1d(train.subject.astype(str), held.subject.astype(str))
    if len(both):
        raise NisslError(
            f"{len(both)} subjects are in both recordings, among them '{both[0]}'",
            do="split with halves(questions, labels=..., by='subject')",
        )
