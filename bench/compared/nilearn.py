"""nilearn: voxels of a mask read and cleaned; categories decoded by run, with permuted labels."""

from __future__ import annotations

from typing import Any

from bench.compared.task import Given, Task, Work

DRAWS = 19


def read_theirs(given: Given) -> Work:
    """``NiftiMasker``: detrended and standardised by run."""
    from nilearn.maskers import NiftiMasker

    runs = given["run"]

    def work() -> Any:
        masker = NiftiMasker(
            mask_img=str(given.haxby / "mask.nii.gz"),
            runs=runs,
            detrend=True,
            standardize="zscore_sample",
        )
        return masker.fit_transform(str(given.haxby / "bold.nii.gz"))

    return work


def read_ours(given: Given) -> Work:
    """``read``, then ``clean``, which calls nilearn's own."""
    import nissl

    runs = given["run"]

    def work() -> Any:
        rec = nissl.read(given.haxby / "bold.nii.gz", mask=given.haxby / "mask.nii.gz", tr=2.5)
        rec = rec.assign_coords(run=("sample", runs))
        return nissl.recording.clean(rec, by="run", detrend=True, standardise=True).values

    return work


def _classifier() -> Any:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeClassifier(alpha=1000.0))


def decode_theirs(given: Given) -> Work:
    """What nilearn's guide gives for a null: scikit-learn's test on masked data."""
    from sklearn.model_selection import LeaveOneGroupOut, permutation_test_score

    seen = given["category"] != "rest"
    x, y, runs = (given[name][seen] for name in ("bold", "category", "run"))

    def work() -> Any:
        score, _, _ = permutation_test_score(
            _classifier(), x, y, groups=runs, cv=LeaveOneGroupOut(), n_permutations=DRAWS
        )
        return score

    return work


def decode_ours(given: Given) -> Work:
    """``decode`` with the same classifier; labels move in whole blocks of volumes."""
    from nissl import Test
    from nissl.brain import decode
    from nissl.recording import as_recording

    seen = given["category"] != "rest"
    samples = {name: given[name][seen] for name in ("category", "run")}
    rec = as_recording(given["bold"][seen], samples=samples)

    def work() -> Any:
        return decode(
            rec,
            "category",
            folds="run",
            model=_classifier(),
            test=Test(n_permutations=DRAWS),
            progress=False,
        ).score

    return work


def ridge_ours(given: Given) -> Work:
    """``decode`` as it is by default: a penalty chosen in each fold, all draws in one solution."""
    from nissl import Test
    from nissl.brain import decode
    from nissl.recording import as_recording

    seen = given["category"] != "rest"
    samples = {name: given[name][seen] for name in ("category", "run")}
    rec = as_recording(given["bold"][seen], samples=samples)
    how: Any = {"folds": "run", "test": Test(n_permutations=DRAWS), "progress": False}
    return lambda: decode(rec, "category", **how).score


TASKS = [
    Task(
        "read 1,452 volumes x 530 voxels, detrend and standardise by run",
        read_theirs,
        read_ours,
        1e-3,
        note="`clean` calls nilearn's `signal.clean`",
    ),
    Task(
        "decode 8 categories, 12 runs left out in turn, one ridge classifier, 19 permutations",
        decode_theirs,
        decode_ours,
        1e-9,
        rounds=2,
        note="accuracies are compared; the null permutes single volumes there, blocks here",
    ),
    Task(
        "the same, with ours at its default: a penalty chosen in every fold",
        decode_theirs,
        ridge_ours,
        0.05,
        rounds=2,
        note="accuracies differ by the penalty",
    ),
]
