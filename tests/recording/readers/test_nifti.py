"""Volumes written here come back as voxels in their place, with regions and labels."""

import numpy as np
import pandas as pd
import pytest

from nissl.errors import NisslError, UnknownName
from nissl.recording.readers import read_file, read_nifti

nibabel = pytest.importorskip("nibabel")

AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -120], [0, 0, 4, -70], [0, 0, 0, 1]])
SHAPE = (4, 3, 2)


def save(path, values, affine=AFFINE, tr=2.5, dtype=None):
    image = nibabel.Nifti1Image(values, affine, dtype=dtype or values.dtype)
    image.header.set_xyzt_units("mm", "sec")
    if values.ndim == 4:
        image.header.set_zooms((3, 3, 4, tr))
    nibabel.save(image, path)
    return path


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(*SHAPE, 12)).astype(np.float32)


@pytest.fixture
def mask():
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 2, 0] = mask[3, 0, 1] = 1
    return mask


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_masked_voxels_know_their_place(tmp_path, values, mask, name):
    path = save(tmp_path / name, values)
    rec = read_file(path, mask=save(tmp_path / f"mask_{name}", mask))
    np.testing.assert_array_equal(rec.values, np.stack([values[1, 2, 0], values[3, 0, 1]], axis=1))
    assert rec.dtype == np.float32
    assert rec["unit"].values.tolist() == ["voxel[1,2,0]", "voxel[3,0,1]"]
    for n, place in enumerate([(1, 2, 0), (3, 0, 1)]):
        mm = nibabel.affines.apply_affine(AFFINE, place)
        assert [float(rec[axis][n]) for axis in "xyz"] == mm.tolist()
        assert tuple(int(rec[axis][n]) for axis in "ijk") == place
    np.testing.assert_allclose(rec["time"].values, np.arange(12) * 2.5)
    assert rec.attrs == {"quantity": "bold", "source": name, "repetition_time": 2.5}


def test_masks_may_be_arrays_or_images_or_none(tmp_path, values, mask):
    values[0] = 0
    path = save(tmp_path / "bold.nii", values)
    array = read_nifti(path, mask=mask)
    np.testing.assert_array_equal(
        array.values, read_nifti(path, mask=nibabel.Nifti1Image(mask, AFFINE)).values
    )
    assert read_nifti(path).sizes["unit"] == 3 * 3 * 2


def test_scaled_integers_arrive_as_what_they_stand_for(tmp_path, values):
    path = save(tmp_path / "bold.nii.gz", values, dtype=np.int16)
    rec = read_nifti(path)
    inside = values.reshape(-1, 12)
    np.testing.assert_allclose(rec.values, inside.T, atol=2e-4)


def test_an_atlas_names_regions_and_averages_them(tmp_path, values):
    atlas = np.zeros(SHAPE, np.float32)
    atlas[0], atlas[1, 0] = 7, 3
    path = save(tmp_path / "bold.nii", values)
    file = save(tmp_path / "atlas.nii", atlas)
    voxels = read_nifti(path, atlas=file, regions={7: "V1", 3: "FFA"})
    expected = np.where(atlas[atlas > 0] == 7, "V1", "FFA")
    assert voxels["region"].values.tolist() == expected.tolist()
    regions = read_nifti(path, atlas=file, by="region", regions={7: "V1"})
    assert regions["region"].values.tolist() == ["3", "V1"]
    assert regions["n_voxels"].values.tolist() == [2, 6]
    np.testing.assert_allclose(
        regions.values[:, 1], values[0].reshape(-1, 12).mean(axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(float(regions["x"][1]), 90.0)


def test_labels_a_row_a_volume(tmp_path, values):
    path = save(tmp_path / "bold.nii", values)
    table = pd.DataFrame({"labels": ["face", "rest"] * 6, "chunks": np.repeat([0, 1], 6)})
    table.to_csv(tmp_path / "labels.txt", sep=" ", index=False)
    rec = read_nifti(path, events=tmp_path / "labels.txt")
    assert rec["labels"].values.tolist() == table["labels"].tolist()
    assert rec["chunks"].values.tolist() == table["chunks"].tolist()
    with pytest.raises(NisslError, match="11 rows, the run 12 volumes"):
        read_nifti(path, events=table[:11])


def test_onsets_label_the_volumes_whose_middle_they_hold(tmp_path, values):
    path = save(tmp_path / "bold.nii", values)
    onset, duration = np.array([1.0, 11.3, 20.0]), np.array([5.0, 0.0, 7.5])
    events = pd.DataFrame(
        {"onset": onset, "duration": duration, "trial_type": ["face", "house", "face"]}
    )
    rec = read_nifti(path, events=events)
    by_hand = []
    for volume in range(12):
        begins, middle = volume * 2.5, volume * 2.5 + 1.25
        held = [
            i
            for i in range(3)
            if onset[i] <= middle < onset[i] + duration[i]
            or (duration[i] == 0 and begins <= onset[i] < begins + 2.5)
        ]
        by_hand.append(held[-1] if held else -1)
    assert rec["event"].values.tolist() == by_hand == [0, 0, -1, -1, 1, -1, -1, -1, 2, 2, 2, -1]
    assert rec["trial_type"].values.tolist()[3:5] == ["", "house"]
    events["trial_type"] = ["face", np.nan, "face"]
    assert (
        read_nifti(path, events=events)["trial_type"].values.tolist()[:5] == ["face"] * 2 + [""] * 3
    )
    later = read_nifti(path, events=events, lag=5.0)
    assert later["event"].values.tolist() == [-1, -1, *by_hand[:-2]]


def test_other_grids_are_refused(tmp_path, values, mask):
    path = save(tmp_path / "bold.nii", values)
    with pytest.raises(NisslError, match="another grid") as caught:
        read_nifti(path, mask=mask[:2])
    assert "resample" in caught.value.do
    with pytest.raises(NisslError, match="another affine"):
        read_nifti(path, mask=save(tmp_path / "mask.nii", mask, affine=np.eye(4)))
    with pytest.raises(NisslError, match="no voxel"):
        read_nifti(path, mask=np.zeros(SHAPE))


def test_what_is_not_known_is_asked_for(tmp_path, values, mask):
    still = save(tmp_path / "still.nii", values, tr=0.0)
    with pytest.raises(NisslError, match="time from one volume"):
        read_nifti(still)
    assert read_nifti(still, tr=0.7)["time"].values[1] == 0.7
    with pytest.raises(NisslError, match="3 dimensions"):
        read_nifti(save(tmp_path / "mask.nii", mask))
    with pytest.raises(NisslError, match="know the regions"):
        read_nifti(still, by="region")
    with pytest.raises(UnknownName, match="did you mean 'voxel'"):
        read_nifti(still, by="voxels")


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("part", [0.001, 0.5, 0.99])
def test_truncated_images_are_refused(tmp_path, values, name, part):
    path = save(tmp_path / name, values)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(1, int(len(whole) * part))])
    with pytest.raises(NisslError, match="damaged, cut short"):
        read_file(path)
