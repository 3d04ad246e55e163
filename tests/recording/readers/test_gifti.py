"""Values over a surface come back by vertex, with places and regions; what is damaged is said."""

import base64
import zlib

import numpy as np
import pandas as pd
import pytest

from nissl import NisslError
from nissl.recording.readers import read_file, read_gifti

nibabel = pytest.importorskip("nibabel")
gifti = nibabel.gifti
SERIES, SHAPE = "NIFTI_INTENT_TIME_SERIES", "NIFTI_INTENT_SHAPE"


def save(path, *arrays, side="CortexLeft", table=None):
    image = gifti.GiftiImage(
        darrays=[gifti.GiftiDataArray(a, intent=intent, meta=meta) for a, intent, meta in arrays],
        meta=gifti.GiftiMetaData({"AnatomicalStructurePrimary": side}),
        labeltable=table,
    )
    nibabel.save(image, path)
    return path


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


@pytest.mark.parametrize("whole", [False, True])
def test_a_time_series_is_volumes_by_vertices(tmp_path, values, whole):
    arrays = [(values.T.copy(), SERIES, None)] if whole else [(v, SERIES, None) for v in values]
    path = save(tmp_path / "s.func.gii", *arrays)
    events = pd.DataFrame({"onset": [4.0], "duration": [4.0], "kind": ["face"]})
    rec = read_file(path, tr=2.0, events=events)
    np.testing.assert_array_equal(rec.values, values)
    assert rec["unit"].values.tolist() == [f"cortex_left[{i}]" for i in range(6)]
    assert rec["time"].values.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert rec["kind"].values.tolist()[2:4] == ["face", "face"]
    with pytest.raises(NisslError, match="not stated"):
        read_gifti(path)


def test_maps_have_their_names_and_vertices_their_places(tmp_path, values):
    path = save(
        tmp_path / "t.shape.gii",
        *((v, SHAPE, {"Name": name}) for v, name in zip(values, "abcde", strict=True)),
    )
    places = np.arange(18, dtype=np.float32).reshape(6, 3)
    surface = save(
        tmp_path / "t.surf.gii",
        (places, "NIFTI_INTENT_POINTSET", None),
        (np.array([[0, 1, 2]], np.int32), "NIFTI_INTENT_TRIANGLE", None),
    )
    table = gifti.GiftiLabelTable()
    for key, name in ((0, "???"), (7, "V1")):
        label = gifti.GiftiLabel(key, 1, 0, 0, 1)
        label.label = name
        table.labels.append(label)
    codes = np.array([7, 7, 0, 0, 7, 3], np.int32)
    atlas = save(tmp_path / "t.label.gii", (codes, "NIFTI_INTENT_LABEL", None), table=table)
    rec = read_gifti(path, surface=surface, atlas=atlas)
    assert rec["map"].values.tolist() == list("abcde")
    np.testing.assert_array_equal(np.stack([rec[a].values for a in "xyz"], 1), places)
    assert rec["region"].values.tolist() == ["V1", "V1", "???", "???", "V1", "3"]
    with pytest.raises(NisslError, match="a surface and no values"):
        read_gifti(surface)
    with pytest.raises(NisslError, match="no time"):
        read_gifti(path, events=pd.DataFrame({"onset": [0.0], "duration": [1.0]}))
    small = save(tmp_path / "u.surf.gii", (places[:4], "NIFTI_INTENT_POINTSET", None))
    with pytest.raises(NisslError, match="4 vertices, not 6"):
        read_gifti(path, surface=small)


def test_an_array_that_inflates_to_more_than_it_states_is_refused(tmp_path, values):
    path = save(tmp_path / "s.shape.gii", (values[0], SHAPE, None))
    text = path.read_text()
    start, end = text.index("<Data>") + 6, text.index("</Data>")
    bomb = base64.b64encode(zlib.compress(bytes(100_000_000))).decode()
    path.write_text(text[:start] + bomb + text[end:])
    with pytest.raises(NisslError, match="another number"):
        read_gifti(path)
    path.write_text(text.replace('Dim0="6"', 'Dim0="6000000000000"'))
    with pytest.raises(NisslError):
        read_gifti(path)
    path.write_text(text[:300])
    with pytest.raises(NisslError, match="GIFTI"):
        read_gifti(path)
