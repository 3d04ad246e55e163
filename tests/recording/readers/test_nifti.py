"""Volumes written here come back as voxels in their place, with regions and labels."""

import gzip
import tracemalloc
import zlib
from decimal import Decimal

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


def test_events_of_bids_may_lack_words_but_not_onsets(tmp_path, values):
    path = save(tmp_path / "bold.nii", values)
    table = tmp_path / "events.tsv"
    table.write_text("onset\tduration\ttrial_type\tvolume\n0\tn/a\tface\t3\n5\t2.5\tn/a\tn/a\n")
    rec = read_nifti(path, events=table)
    assert rec["event"].values.tolist()[:4] == [0, -1, 1, -1]
    assert rec["trial_type"].values.tolist()[:3] == ["face", "", ""]
    np.testing.assert_array_equal(rec["volume"], np.arange(12))
    np.testing.assert_array_equal(rec["events_volume"][:3], [3, np.nan, np.nan])
    for cell in ("n/a", "soon"):
        table.write_text(f"onset\tduration\n0\t1\n{cell}\t1\n")
        with pytest.raises(NisslError, match="not seconds") as caught:
            read_nifti(path, events=table)
        assert caught.value.where == f"{table}, line 3"


@pytest.mark.parametrize("step", [0.1, 0.2, 0.7, 1.1])
def test_onsets_on_the_middle_of_a_volume_hold_it(tmp_path, values, step):
    """In exact decimals: the middle of volume v lies at (2 v + 1) / 2 steps."""
    path = save(tmp_path / "bold.nii", values, tr=step)
    for v in range(12):
        onset = float(Decimal(str(step)) * (2 * v + 1) / 2)
        events = pd.DataFrame({"onset": [onset], "duration": [step]})
        assert np.flatnonzero(read_nifti(path, tr=step, events=events)["event"] == 0).tolist() == [
            v
        ]


def unit_of_time(path, values, unit, stated):
    image = nibabel.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((3, 3, 4, stated))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(
    ("unit", "stated", "found", "doubted"),
    [
        ("sec", 2.0, 2.0, False), ("msec", 720.0, 0.72, False), ("usec", 2e6, 2.0, False),
        (None, 2.0, 2.0, True), ("sec", 2000.0, 2000.0, True), ("msec", 2.0, 0.002, True),
        (None, 1.0, None, False), ("sec", 0.0, None, False), ("hz", 2.0, None, False),
    ],
)  # fmt: skip
def test_the_repetition_time_is_read_doubted_or_not_stated(
    tmp_path, values, unit, stated, found, doubted, recwarn
):
    path = unit_of_time(tmp_path / "bold.nii", values, unit, stated)
    if found is None:
        with pytest.raises(NisslError, match="is not stated"):
            read_nifti(path)
    else:
        assert read_nifti(path).attrs["repetition_time"] == pytest.approx(found)
    assert bool([w for w in recwarn if "give tr= if it is not" in str(w.message)]) == doubted
    assert read_nifti(path, tr=1.5).attrs["repetition_time"] == 1.5


def test_shares_of_a_mask_are_inside_and_shares_of_an_atlas_refused(tmp_path, values):
    shares = np.zeros(SHAPE)
    shares[0, 0, 0], shares[1, 1, 1], shares[2, 2, 0], shares[3, 0, 0] = 0.3, 0.5, 1.0, np.nan
    path = save(tmp_path / "bold.nii", values)
    units = ["voxel[0,0,0]", "voxel[1,1,1]", "voxel[2,2,0]"]
    for mask in (shares, save(tmp_path / "mask.nii", shares)):
        assert read_nifti(path, mask=mask)["unit"].values.tolist() == units
    assert read_nifti(path, mask=shares > 0.4)["unit"].values.tolist() == units[1:]
    with pytest.raises(NisslError, match=r"atlas holds 0\.[35]"):
        read_nifti(path, atlas=shares)


def test_a_flipped_bit_of_a_gzip_file_is_noticed(tmp_path, values):
    path = save(tmp_path / "bold.nii.gz", values)
    whole = path.read_bytes()
    for bit in np.random.default_rng(0).integers(80, 8 * len(whole), 40):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(bytes(data))
        try:
            same = gzip.decompress(bytes(data)) == gzip.decompress(whole)
        except (OSError, EOFError, zlib.error):
            same = False
        if same:
            continue  # a bit of the name or the date, which the checksum leaves out
        with pytest.raises(NisslError, match="damaged"):
            read_nifti(path)


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_a_size_that_is_only_stated_takes_no_memory(tmp_path, values, name):
    image = nibabel.Nifti1Image(values[:1, :1, :1, :2], AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    data = bytearray(image.to_bytes())
    data[40:56] = np.array([4, 1000, 1000, 100, 2, 1, 1, 1], "<i2").tobytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else bytes(data))
    tracemalloc.start()
    with pytest.raises(NisslError, match=r"its header states|needs"):
        read_nifti(path, tr=2.0)
    assert tracemalloc.get_traced_memory()[1] < 5e7
    tracemalloc.stop()


def test_images_of_other_things_are_named(tmp_path, values):
    complex_ = nibabel.Nifti1Image(values.astype(np.complex64), AFFINE)
    nibabel.save(complex_, tmp_path / "c.nii")
    with pytest.raises(NisslError, match="holds complex64"):
        read_nifti(tmp_path / "c.nii", tr=2.0)


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


@pytest.mark.parametrize("kind", ["brain", "parcels"])
def test_cifti_of_both_kinds(tmp_path, kind):
    """The axes of nibabel are the reference for every unit's place."""
    cifti = nibabel.cifti2
    rng = np.random.default_rng(0)
    voxels = np.zeros((3, 3, 3), bool)
    voxels[0, 1, 2] = voxels[2, 2, 1] = True
    brain = cifti.BrainModelAxis.from_surface([1, 5, 7], 10, name="cortex_left")
    brain += cifti.BrainModelAxis.from_mask(
        voxels, affine=np.diag([2, 2, 2, 1]), name="thalamus_left"
    )
    parcels = cifti.ParcelsAxis.from_brain_models([("V1", brain[:2]), ("Th", brain[3:])])
    axis = brain if kind == "brain" else parcels
    data = rng.normal(size=(6, len(axis))).astype(np.float32)
    header = cifti.Cifti2Header.from_axes((cifti.SeriesAxis(0, 0.72, 6), axis))
    path = tmp_path / "a.dtseries.nii"
    cifti.Cifti2Image(data, header=header).to_filename(path)
    events = pd.DataFrame({"onset": [0.72], "duration": [1.44], "trial_type": ["a"]})
    rec = read_file(path, events=events)
    np.testing.assert_array_equal(rec.values, data)
    np.testing.assert_allclose(rec["time"], np.arange(6) * 0.72)
    assert rec["trial_type"].values.tolist() == ["", "a", "a", "", "", ""]
    if kind == "parcels":
        assert rec["region"].values.tolist() == ["V1", "Th"]
        return
    assert rec["region"].values.tolist() == ["cortex_left"] * 3 + ["thalamus_left"] * 2
    assert rec["vertex"].values.tolist() == [1, 5, 7, -1, -1]
    place = np.stack([rec[a].values for a in "xyz"], axis=1)
    assert np.isnan(place[:3]).all()
    np.testing.assert_allclose(
        place[3:], nibabel.affines.apply_affine(brain.affine, brain.voxel[3:])
    )
    assert rec["unit"].values[[0, 3]].tolist() == ["cortex_left[1]", "thalamus_left[0,1,2]"]
    with pytest.raises(NisslError, match="takes no mask"):
        read_file(path, mask=np.ones((3, 3, 3)))


def test_cifti_that_is_no_time_series_is_refused(tmp_path):
    cifti = nibabel.cifti2
    brain = cifti.BrainModelAxis.from_surface([1, 5], 10, name="cortex_left")
    header = cifti.Cifti2Header.from_axes((cifti.ScalarAxis(["myelin"]), brain))
    cifti.Cifti2Image(np.ones((1, 2)), header=header).to_filename(tmp_path / "a.dscalar.nii")
    with pytest.raises(NisslError, match="ScalarAxis and BrainModelAxis"):
        read_file(tmp_path / "a.dscalar.nii")
