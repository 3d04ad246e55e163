"""Recordings of brains: what they hold, and what is known to be in them."""

import numpy as np
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording import Recording, check
from nissl.specimens import recordings as loaders
from nissl.specimens import specimens, worm_connectomes, worm_neurons
from nissl.specimens.recordings.source import source_files
from nissl.specimens.recordings.ts_file import read_ts

TRIALS = "# made up\n@problemName SCP\n@data\n" + "".join(
    ":".join(",".join(str(10 * trial + channel + t / 10) for t in range(4)) for channel in range(6))
    + f":{side}\n"
    for trial, side in enumerate(["negativity", "positivity", "negativity"])
)


@pytest.fixture
def scp_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "SelfRegulationSCP1_TRAIN.ts").write_text(TRIALS)
    return tmp_path


def test_trials_become_samples_of_trial_and_time(scp_folder):
    rec = loaders.scp1(scp_folder)
    assert rec.shape == (12, 6)
    assert rec["polarity"].values[::4].tolist() == ["negativity", "positivity", "negativity"]
    assert rec["trial"].values.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert rec["time"].values[1] == 2 + 1 / 256
    assert rec.values[6, 3] == np.float32(13.2)  # trial 1, third time, fourth channel


def test_trials_of_other_shapes_are_refused(scp_folder):
    path = scp_folder / "deep" / "SelfRegulationSCP1_TRAIN.ts"
    with pytest.raises(NisslError, match="there should be 5"):
        read_ts(path, 5)
    path.write_text(TRIALS[:-40])
    with pytest.raises(NisslError):
        loaders.scp1(scp_folder)
    path.write_text("@data\n")
    with pytest.raises(NisslError, match="no trials"):
        loaders.scp1(scp_folder)
    with pytest.raises(UnknownName, match="'train'"):
        loaders.scp1(scp_folder, split="trian")


@pytest.mark.parametrize(
    ("load", "file"),
    [
        (loaders.head_direction, "neurosuite/pynapplenwb/A2929-200711.nwb"),
        (loaders.calcium, "suite2p/pynapplenwb/2022_08_08.nwb"),
        (loaders.haxby, "mvpa2/data/mask.nii.gz"),
        (loaders.hcp, "hcp/subjects/1/functional/TC_rsfMRI_REST1_LR.mat"),
        (loaders.worm, "data/funatlas.h5"),
        (loaders.absence_eeg, "absence_epilepsy.eeg.h5"),
        (loaders.grasshopper, "grasshopper_spike_times1.txt"),
    ],
)
def test_broken_and_missing_files_say_what_to_do(tmp_path, load, file):
    with pytest.raises(NisslError, match="there is no file"):
        load(tmp_path)
    broken = tmp_path / file
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_bytes(b"\x89HDF\r\n not this")
    for other in ("bold.nii.gz", "attributes_literal.txt"):
        (broken.parent / other).write_bytes(b"")
    (tmp_path / "grasshopper_stimulus1.txt").write_bytes(b"")
    with pytest.raises(NisslError, match="fetch it again") as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value.where)


def test_source_files_are_found_in_any_depth(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.nwb").touch()
    assert [p.name for p in source_files(tmp_path, "b/*.nwb")] == ["c.nwb"]


def test_every_recording_of_the_catalogue_has_a_loader():
    table = specimens()
    names = table[table["kind"] == "recording"]["name"]
    assert {"head-direction", "haxby", "hcp", "worm", "scp1"} <= set(names)
    for name in names:
        assert callable(getattr(loaders, name.replace("-", "_")))


@pytest.mark.real
def test_head_direction_coordinates(head_direction):
    rec = check(head_direction)
    assert rec.shape == (6000, 15)
    assert np.unique(rec["region"], return_counts=True)[1].tolist() == [7, 8]
    assert rec.values.sum() == pytest.approx(98_794, abs=3)  # spikes at the very end of an epoch
    angle = rec["head_direction"].values
    asleep = rec["epoch"].values == "sleep"
    assert np.isnan(angle[asleep]).all()
    assert np.isfinite(angle[~asleep]).mean() > 0.85
    assert np.nanmin(angle) >= 0
    assert np.nanmax(angle) <= 2 * np.pi
    assert rec["head_direction"].attrs["period"] == 2 * np.pi
    assert np.isnan(rec["ripple"].values[~asleep]).all()


@pytest.mark.real
def test_bins_too_wide_are_refused():
    with pytest.raises(NisslError, match="bin"):
        loaders.head_direction(bin=700.0)
    with pytest.raises(NisslError, match="bin"):
        loaders.head_direction(bin=0.0)


@pytest.mark.real
def test_seven_cells_tell_where_the_head_points(head_direction):
    """A Bayesian decoder of Poisson counts is some 7 degrees wrong, by chance 90."""
    seen = np.isfinite(head_direction["head_direction"].values)
    counts = head_direction.values[seen][:, head_direction["region"].values == "ADN"]
    angle = head_direction["head_direction"].values[seen]
    level = (angle / (2 * np.pi) * 36).astype(int) % 36
    fold = np.arange(len(angle)) * 5 // len(angle)
    error = np.empty(len(angle))
    for f in range(5):
        train, test = fold != f, fold == f
        rate = np.stack([counts[train & (level == k)].mean(0) for k in range(36)]) + 0.01
        share = np.bincount(level[train], minlength=36) / train.sum()
        evidence = counts[test] @ np.log(rate).T - rate.sum(1) + np.log(share)
        decoded = (evidence.argmax(1) + 0.5) * 2 * np.pi / 36
        error[test] = np.abs(np.angle(np.exp(1j * (decoded - angle[test]))))
    assert 4 < np.degrees(np.median(error)) < 10


@pytest.mark.real
def test_haxby_categories_are_told_from_voxels(haxby):
    """Ridge, one run left out: 65.6% of volumes, by chance 12.5%."""
    from sklearn.linear_model import RidgeClassifier

    assert check(haxby).shape == (1452, 530)
    category, run = haxby["category"].values, haxby["run"].values
    assert len(np.unique(category)) == 9
    assert haxby["time"].values.max() == 300.0
    z = np.empty(haxby.shape)
    for r in range(12):
        here = haxby.values[run == r]
        z[run == r] = (here - here.mean(0)) / here.std(0)
    seen = category != "rest"
    right = 0
    for r in range(12):
        model = RidgeClassifier(alpha=1000).fit(z[seen & (run != r)], category[seen & (run != r)])
        right += (model.predict(z[seen & (run == r)]) == category[seen & (run == r)]).sum()
    assert right / seen.sum() == pytest.approx(0.656, abs=0.01)


@pytest.mark.real
def test_hcp_structure_goes_with_function(hcp):
    """Correlation over pairs of regions, each subject alone, 0.2 to 0.5."""
    assert check(hcp).shape == (8400, 94)
    assert hcp["unit"].values[:2].tolist() == ["Precentral_L", "Precentral_R"]
    structure = loaders.hcp_structure()
    assert structure["source"].values.tolist() == hcp["unit"].values.tolist()
    subject = hcp["subject"].values
    assert structure["subject"].values.tolist() == list(dict.fromkeys(subject))
    pairs = np.triu_indices(94, 1)
    for s in structure["subject"].values:
        function = np.corrcoef(hcp.values[subject == s].T)[pairs]
        strength = np.log1p(structure["strength"].sel(subject=s).values[pairs])
        assert 0.2 < np.corrcoef(function, strength)[0, 1] < 0.5
        lengths = structure["length"].sel(subject=s).values[pairs]
        assert np.corrcoef(function, lengths)[0, 1] < 0.1  # far regions hang together less


@pytest.mark.real
def test_worm_pairs_and_responses(worm):
    pairs = loaders.worm_pairs()
    assert len(pairs) == 25_345
    assert (pairs["q"] < 0.05).sum() == 1_310
    assert check(worm).shape == (173, 207)
    stimulus = worm["stimulus"].values
    scored = pairs[(pairs["observed"] != pairs["stimulated"]) & pairs["response"].notna()]
    assert np.isfinite(worm.values).sum() == len(scored)
    for pair in scored.sample(20, random_state=0).itertuples():
        value = worm.sel(unit=pair.observed).values[stimulus == pair.stimulated]
        assert value == np.float32(pair.response)
    autoresponse = loaders.worm(autoresponse=True)
    assert np.isfinite(autoresponse.values).sum() > np.isfinite(worm.values).sum()
    with pytest.raises(UnknownName, match="wild"):
        loaders.worm(strain="wild")


@pytest.mark.real
def test_worm_connectomes_join_the_neurons_of_the_atlas(worm):
    wiring = worm_connectomes(datasets=["white-1986", "witvliet-2021-8"])
    there = set(worm_neurons(worm["unit"].values))
    assert there <= set(wiring["source"].values)
    white = wiring.sel(dataset="white-1986")
    assert float(white["chemical"].sel(source="ADAL", target="AIBL")) == 1
    assert float(white["chemical"].sel(source="AIBL", target="ADAL")) == 0
    gap = wiring["gap"].values
    assert np.array_equal(gap, gap.swapaxes(1, 2), equal_nan=True)


@pytest.mark.real
@pytest.mark.parametrize(
    ("load", "shape", "label"),
    [
        (loaders.scp1, (268 * 896, 6), "polarity"),
        (loaders.scp2, (200 * 1152, 7), "polarity"),
        (loaders.finger_movements, (316 * 50, 28), "hand"),
        (loaders.hand_direction, (160 * 400, 10), "direction"),
        (loaders.eyes, (56 * 128, 14), "eyes"),
    ],
)
def test_labelled_trials(load, shape, label):
    rec: Recording = check(load())
    assert rec.shape == shape
    assert rec[label].dims == ("sample",)
    assert len(np.unique(rec[label].values)) == (4 if label == "direction" else 2)


@pytest.mark.real
def test_calcium_is_fluorescence_less_neuropil():
    rec = check(loaders.calcium())
    assert rec.shape == (2000, 219)
    assert rec["accepted"].values.sum() == 20
    assert rec.attrs["quantity"] == "calcium"
    np.testing.assert_allclose(np.diff(rec["time"].values), 0.1)


@pytest.mark.real
def test_grasshopper_spikes_where_the_sound_is_loud():
    rec = check(loaders.grasshopper())
    run = rec["run"].values
    assert np.bincount(run, rec.values[:, 0]).tolist() == [929, 868]
    after = np.roll(rec.values[:, 0], -5)  # a receptor answers within some 5 ms
    loud, spikes = rec["amplitude"].values[run == 0], after[run == 0]
    assert loud[spikes > 0].mean() > loud.mean() + 1


@pytest.mark.real
def test_absence_seizures_are_large():
    rec = check(loaders.absence_eeg())
    assert rec.shape == (362_200, 36)
    assert rec["seizure"].values.sum() / rec.attrs["rate"] == pytest.approx(16, abs=0.5)
    frontal = rec.sel(unit="F3").values
    seizure = rec["seizure"].values == 1
    assert frontal[seizure].std() > 2 * frontal[~seizure].std()
    assert (loaders.absence_eeg_annotations()["text"] == "SZ START").sum() == 3
