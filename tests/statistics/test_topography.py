"""Values of sensors are drawn where the sensors are: planted sources show at their places."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from nissl.errors import NisslError, UnknownName
from nissl.recording import as_recording
from nissl.statistics import Finding, topography

NAMES = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8"]
NAMES += ["P7", "P3", "Pz", "P4", "P8", "O1", "O2"]


@pytest.fixture
def axes():
    return Figure().subplots()


def at(axes, image_row, image_column):
    """Return the colour's number at a share of the picture's height (from below) and width."""
    image = axes.images[0].get_array()
    return float(image[round(image_row * (len(image) - 1)), round(image_column * (len(image) - 1))])


def scalp(n=40, radius=90.0, centre=(3.0, -8.0, 45.0), seed=0):
    """Places in mm on the upper half of a sphere whose middle is not the origin."""
    way = np.random.default_rng(seed).standard_normal((n, 3))
    way[:, 2] = np.abs(way[:, 2])
    return radius * way / np.linalg.norm(way, axis=1, keepdims=True) + centre


def test_a_source_shows_at_its_place_with_its_sign(axes):
    names = np.array(NAMES)
    values = np.where(names == "Fz", 2.0, np.where(np.isin(names, ["O1", "O2"]), -1.0, 0.0))
    topography(values, NAMES, label="uV", axes=axes)
    assert at(axes, 0.72, 0.5) > 0.8  # ahead
    assert at(axes, 0.12, 0.5) < -0.4  # behind
    assert abs(at(axes, 0.5, 0.5)) < 0.5
    assert axes.images[0].get_clim() == (-2, 2)
    assert axes.get_figure().axes[1].get_ylabel() == "uV"


def test_left_is_left_and_the_top_of_the_sphere_is_in_the_middle(axes):
    place = scalp()
    left = place[:, 0] < place[:, 0].mean()
    units = pd.DataFrame(place, columns=list("xyz")).assign(unit=[f"e{i}" for i in range(40)])
    topography(left.astype(float), units, axes=axes)
    assert at(axes, 0.5, 0.2) > 0.8
    assert at(axes, 0.5, 0.8) < 0.2
    assert axes.images[0].get_clim() == (0, 1)
    (drawn,) = (c.get_offsets() for c in axes.collections if len(c.get_offsets()) == 40)
    way = (place - [3, -8, 45]) / 90
    out = 90 * np.arccos(way[:, 2]) / (np.pi / 2)
    turned = way[:, :2] / np.hypot(*way[:, :2].T)[:, None] * out[:, None]
    np.testing.assert_allclose(np.asarray(drawn), turned, atol=1e-6)


def test_metres_and_millimetres_make_one_picture(axes):
    place, values = scalp(), np.arange(40.0)
    pictures = []
    for factor in (1, 1e-3):
        one = Figure().subplots()
        units = pd.DataFrame(factor * place, columns=list("xyz")).assign(unit=range(40))
        topography(values, units.astype({"unit": str}), axes=one)
        pictures.append(one.images[0].get_array())
    assert np.ma.allclose(*pictures, atol=1e-6)


def test_a_recording_gives_its_channels_by_place_or_by_name():
    values = np.linspace(-1, 1, len(NAMES))
    by_name, upper = Figure().subplots(), Figure().subplots()
    topography(values, as_recording(np.zeros((2, 19)), units={"unit": NAMES}), axes=by_name)
    addresses = {"unit": [f"eeg.{i}" for i in range(19)], "channel": [n.upper() for n in NAMES]}
    rec = as_recording(np.zeros((2, 19)), units=addresses)
    topography(values, rec, axes=upper)
    assert np.ma.allclose(by_name.images[0].get_array(), upper.images[0].get_array())
    spherical = Figure().subplots()
    topography(values, rec, montage="biosemi64", axes=spherical)
    both = [one.images[0].get_array().ravel() for one in (by_name, spherical)]
    assert np.corrcoef(*both)[0, 1] > 0.9


def test_a_finding_is_drawn_on_the_head_and_marks_what_was_found():
    table = pd.DataFrame({"unit": NAMES, "r": 0.5, "effect": 0.1, "q": [0.01] * 3 + [0.9] * 16})
    figure = Finding(table, "encode", "n", score="r").plot("topography")
    drawn, colours = figure.axes
    marked = [line for line in drawn.lines if line.get_markersize() == 7]
    assert [len(line.get_xdata()) for line in marked] == [3]
    assert colours.get_ylabel() == "r, above its null"
    double = Finding(pd.concat([table, table]), "encode", "n", score="r")
    with pytest.raises(NisslError, match="several rows"):
        double.plot("topography")


def test_what_cannot_be_placed_is_said():
    with pytest.raises(NisslError, match="1 sensors have no place") as error:
        topography(np.ones(5), ["Fz", "Cz", "Pz", "Oz", "EOG"])
    assert error.value.where == "EOG"
    with pytest.raises(NisslError, match="no finite value"):
        topography([1, 2, 3, np.nan], NAMES[:4])
    with pytest.raises(NisslError, match="at 3 sensors"):
        topography(np.ones(3), NAMES[:3])
    with pytest.raises(NisslError, match="at 19 sensors"):
        topography(np.ones(3), NAMES)
    with pytest.raises(UnknownName, match="montage"):
        topography(np.ones(5), NAMES[:5], montage="standard_9")
    flat = pd.DataFrame({"unit": list("abcde"), "x": range(5), "y": [0, 1, 4, 9, 16], "z": 0.0})
    with pytest.raises(NisslError, match="plane"):
        topography(np.ones(5), flat)
