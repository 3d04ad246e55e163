"""The atlas of a network that sees: a channel built to detect one pattern, and what is shown."""

import json
import re
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from nissl.atlas import make_atlas, open_atlas
from nissl.atlas.image_peaks import ImagePeaks
from nissl.atlas.network_atlas import network_atlas
from nissl.atlas.tables import EXAMPLES, IMAGE_EXAMPLES, TUNING
from nissl.errors import NisslError
from nissl.network import Network, plan_of
from nissl.specimens.images import Images
from nissl.specimens.vision_model import ImageTransform
from nissl.statistics import Test
from tiny import tiny

N, SIDE = 60, 12
CROSS = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0.0]])
LABELS = np.array(["cross", "other", "third"])[np.arange(N) % 3]
TEST = Test(n_permutations=199)


def images():
    """Dim noise; in every third image a cross, brighter from image to image, at a place."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(0, 0.3, (N, 1, SIDE, SIDE)).astype(np.float32))
    corners = {}
    for i in range(0, N, 3):
        row, column = corners[i] = rng.integers(0, SIDE - 2, 2)
        x[i, 0, row : row + 3, column : column + 3] = CROSS * (0.7 + 0.005 * i)
    return x, corners


def detector():
    """Channel 0 is highest where the cross is; the others are near nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(300, 4))
    with torch.no_grad():
        model[0].weight[0, 0], model[0].bias[0] = 2 * CROSS - 1, -2.0
    return Network(model, name="detector")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    out = tmp_path_factory.mktemp("images")
    return make_atlas(detector(), images()[0], labels=LABELS, out=out, test=TEST, progress=False)


def page_data(made):
    return json.loads(re.search(r'id="data">(.*?)</script>', made.page.read_text(), re.S)[1])


def test_the_detector_is_found_with_image_place_and_label(planted):
    corners = images()[1]
    units = planted.units
    assert units["unit"].tolist() == [f"0[{i}]" for i in range(3)] + [f"3[{i}]" for i in range(4)]
    assert (units.loc[0, "kind"], units.loc[0, "label_preferred"]) == ("tuned", "cross")
    assert units.loc[0, "label_q"] <= 0.01
    top = planted.examples("0[0]").query("sign == 1")
    # The brightest crosses first, each image once, at the corner of the map where the cross begins.
    assert top["stimulus"].tolist() == sorted(corners, reverse=True)
    for line in top.to_dict("records"):
        row, column = corners[line["stimulus"]]
        assert (line["map_row"], line["map_column"], line["label"]) == (row, column, "cross")
        box = [line[name] for name in ("left", "top", "width", "height")]
        np.testing.assert_allclose(box, [column / 10, row / 10, 0.1, 0.1], rtol=1e-6)
    linear = planted.examples("3[0]")  # one value an image has no place in it
    assert (linear["map_row"] == -1).all()
    assert linear["left"].isna().all()


def test_shuffled_labels_find_nothing(tmp_path):
    shuffled = np.random.default_rng(1).permutation(LABELS)
    made = make_atlas(
        detector(), images()[0], labels=shuffled, out=tmp_path, test=TEST, progress=False
    )
    assert set(made.units["kind"]) == {"unexplained"}
    assert made.about["tuned"] == {"label": 0}


def test_labels_are_tested_as_those_of_a_recording_are(planted, tmp_path):
    """The reference is the recording of each image's peak, made by hand."""
    from nissl.atlas.tuning import tuning
    from nissl.recording import as_recording

    x = images()[0]
    maps = detector().run(x, sites=["0", "3"])
    peaks = [maps["0"].flatten(1, 2).amax(dim=1), maps["3"]]
    rec = as_recording(
        torch.cat(peaks, dim=1).numpy(),
        samples={"stimulus": range(N), "label": LABELS},
        units={"unit": planted.units["unit"].to_numpy()},
    )
    expected = tuning(rec, labels=["label"], test=TEST, progress=False).finding.table
    assert [c.name for c in TUNING] == list(planted.tuning.columns)
    for name in ("unit", "preferred_name", "null"):
        assert planted.tuning[name].tolist() == expected[name].tolist()
    for name in ("eta2", "p", "q"):
        np.testing.assert_allclose(planted.tuning[name], expected[name], rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4)])
@pytest.mark.parametrize("size", [1, 7, 30])
def test_peaks_are_those_of_all_activity_sorted(shape, size):
    rng = np.random.default_rng(0)
    n_items, n_units, k = 30, 4, 6
    n_places = int(np.prod(shape))
    x = rng.standard_normal((n_items, n_places, n_units)).astype(np.float32)
    x[3], x[4, 0, 1] = np.nan, np.inf
    found = ImagePeaks(n_units, shape=shape, n_items=n_items, k=k)
    for first in range(0, n_items, size):
        found.update(x[first : first + size].reshape(-1, n_units), first * n_places)
        found = ImagePeaks.from_state(found.state())
    result = found.result()
    finite = np.where(np.isfinite(x), x, np.nan)
    for unit in range(n_units):
        for name, sign in (("top", 1), ("bottom", -1)):
            peak = np.nan_to_num(sign * finite[..., unit], nan=-np.inf)
            items = np.argsort(-peak.max(axis=1), kind="stable")[:k]
            samples = items * n_places + peak[items].argmax(axis=1)
            assert result[f"{name}_places"][unit].tolist() == samples.tolist()
            np.testing.assert_array_equal(result[name][unit], sign * peak[items].max(axis=1))
    np.testing.assert_array_equal(found.activity[0], x[0].max(axis=0))
    assert np.isnan(found.activity[3]).all()


def test_what_is_all_alike_is_no_extreme():
    found = ImagePeaks(3, shape=(2,), n_items=0, k=2)
    x = np.array([[[0, 0, 0], [0, 0, 5]], [[0, 1, 0], [0, 0, 5]], [[0, 3, 0], [0, 0, 5]]])
    found.update(x.reshape(-1, 3).astype(np.float32), 0)
    result = found.result()
    assert result["top_places"].tolist() == [[-1, -1], [4, 2], [1, 3]]
    assert (result["bottom_places"] == -1).all()


@pytest.mark.parametrize(
    ("n", "picture", "rows", "columns"),
    [
        (16, (8, 8), 4, 4),
        (17, (8, 8), 4, 4),  # after a token that is no patch
        (144, (8, 18), 8, 18),  # not 12 x 12
        (145, (36, 16), 18, 8),
        (7, (8, 8), 0, 0),
        (144, (8, 9), 0, 0),
        (16, None, 0, 16),  # sound of sixteen steps has no rows
    ],
)
def test_tokens_of_a_vision_transformer_are_patches(n, picture, rows, columns):
    found = ImagePeaks(1, shape=(n,), picture=picture, n_items=0, k=1)
    where = ImagePeaks.from_state(found.state()).where(np.arange(n, 2 * n))
    assert set(where["stimulus"]) == {1}
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    cells = cells or [(-1, c if picture is None else -1) for c in range(n)]
    expected = [(-1, -1)] * (n - len(cells)) + cells
    assert list(zip(where["map_row"], where["map_column"], strict=True)) == expected
    left = np.array([c / columns if r >= 0 else np.nan for r, c in expected])
    np.testing.assert_allclose(where["left"], left, rtol=1e-6)


def test_items_that_are_no_pictures_have_an_atlas_without_them(tmp_path):
    model = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten())
    x = torch.randn(20, 2, 16, generator=torch.Generator().manual_seed(0))
    labels = {"sound": ["a", "b"] * 10, "session": np.arange(20) // 4}
    made = make_atlas(
        Network(model), x, labels=labels, out=tmp_path, sites="0", test=TEST, progress=False
    )
    assert made.about["pictures"] == ""
    assert not (tmp_path / "images").exists()
    top = made.examples("0[0]").query("sign == 1")
    activity = model[0](x).detach().numpy()[:, 0]
    assert top["stimulus"].iloc[0] == activity.max(axis=1).argmax()
    assert top["map_column"].iloc[0] == activity.max(axis=0).argmax()
    # A label that names blocks is what others are permuted within.
    assert set(made.tuning["null"]) == {"PermutedLabels(exchange='stimulus', within='session')"}
    assert set(made.about["skipped"]) == {"session", "stimulus"}


def test_a_vision_transformer_has_its_neurons(tmp_path):
    x = torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net = Network(tiny("vit"))
    made = make_atlas(net, x, out=tmp_path, progress=False)
    assert made.units["site"].str.endswith("mlp.neurons").all()
    site = made.units["site"].iloc[0]
    whole = net.run(x, sites=site)[site].numpy()  # (image, token, unit)
    top = made.examples(f"{site}[0]").query("sign == 1")
    expected = np.sort(whole[..., 0].max(axis=1))[::-1]
    np.testing.assert_allclose(top["value"], expected, rtol=1e-5)
    side = int(np.sqrt(whole.shape[1] - 1))
    assert side**2 == whole.shape[1] - 1
    for line in top.to_dict("records"):
        token = int(whole[line["stimulus"], :, 0].argmax())
        at = (-1, -1) if token == 0 else divmod(token - 1, side)
        assert (line["map_row"], line["map_column"]) == at


def test_the_page_shows_pictures_boxes_and_labels(planted):
    data, text = page_data(planted), planted.page.read_text()
    assert 'Atlas of <span id="what">a network</span>' in text
    assert f"over {N} images" in data["intro"]
    card = next(c for c in data["cards"] if c["row"] == 0)
    top = planted.examples("0[0]").query("sign == 1")
    assert [c["s"] for c in card["high"]] == top["stimulus"].tolist()[:8]
    assert all(c["l"] == "cross" and len(c["box"]) == 4 for c in card["high"])
    shown = {c["s"] for card in data["cards"] for c in card.get("high", []) + card.get("low", [])}
    files = {p.name for p in (planted.path / "images").iterdir()}
    assert files == {f"{s}.png" for s in shown}
    for s in shown:  # small pictures are kept pixel by pixel
        seen = np.asarray(Image.open(planted.path / "images" / f"{s}.png")) / 255
        np.testing.assert_allclose(seen, images()[0][s, 0], atol=0.003)
    (category,) = data["categories"]
    assert category["levels"] == ["cross", "other", "third"]
    assert {c.name for c in (*EXAMPLES, *IMAGE_EXAMPLES)} <= set(top)


def test_pictures_load_from_the_disk_and_units_are_found_by_label(planted, dom):
    probe = """
    addEventListener("load", async () => {
      await new Promise((done) => setTimeout(done, 1000));
      const search = document.getElementById("search"), pre = document.createElement("pre");
      search.value = "Cross";
      search.dispatchEvent(new Event("input"));
      const seen = [...document.querySelectorAll("#unit .picture img")];
      const loaded = seen.map((i) => i.naturalWidth);
      const boxes = document.querySelectorAll("#unit .picture i").length;
      const found = document.querySelectorAll("#found [role=option]").length;
      pre.textContent = JSON.stringify([loaded, boxes, found]);
      pre.id = "probe";
      document.body.append(pre);
    });
    """
    shown = dom(planted.page, probe, "#0%5B0%5D")
    loaded, boxes, found = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', shown)[1])
    assert loaded == [SIDE] * 12
    assert boxes == 12
    units = planted.units
    assert found == ((units["label_preferred"] == "cross") & (units["label_q"] <= 0.05)).sum()


def test_a_normalised_picture_is_shown_as_it_was(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    transform = ImageTransform(size=8, crop=1.0, order="bgr")
    net = Network(nn.Sequential(nn.Conv2d(3, 2, 3)), transform=transform, name="seen")
    made = make_atlas(net, pictures, out=tmp_path, progress=False)
    assert set(made.units["kind"]) == {"untested"}
    assert "carry no labels" in page_data(made)["intro"]
    for path in (made.path / "images").iterdir():
        np.testing.assert_allclose(np.asarray(Image.open(path)), pictures[int(path.stem)], atol=1)


def test_every_kind_of_images_gives_the_same(tmp_path):
    """The reference is an array and its labels; files are told apart by their content."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    labels = np.repeat(["a", "b"], 6)
    folder = tmp_path / "photos"
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / label / f"{i:02}.png")
    (folder / "notes.txt").write_text("no picture")
    paths = sorted(folder.rglob("*.png"))
    torch.manual_seed(0)
    net = Network(nn.Conv2d(3, 2, 3), transform=ImageTransform(size=8, crop=1.0), name="seen")
    tensor = net.transform(pictures)
    given = {
        "array": (pictures, labels),
        "list": (list(pictures), labels),
        "tensor": (tensor, torch.arange(12) // 6),
        "paths": (paths, {"label": labels}),
        "names": ([str(p) for p in paths], labels),
        "folder": (folder, None),
        "named": (str(folder), None),
    }
    found = {}
    for name, (inputs, by) in given.items():
        options = {} if by is None else {"labels": by}
        found[name] = make_atlas(
            net, inputs, out=tmp_path / name, test=TEST, progress=False, **options
        )
    expected = found["array"].tuning["eta2"]
    for name, made in found.items():
        np.testing.assert_allclose(made.tuning["eta2"], expected, rtol=1e-6)
        names = {"0", "1"} if name == "tensor" else {"a", "b"}
        assert set(made.tuning["level_names"].iloc[0]) == names
    grey = Images(pictures[..., 0], np.arange(12) // 6, ("a", "b"), np.zeros(12, bool))
    made = make_atlas(net, grey, out=tmp_path / "grey", test=TEST, progress=False)
    assert made.about["n_images"] == 12
    assert made.tuning["level_names"].iloc[0].tolist() == ["a", "b"]
    few = make_atlas(net, folder, n_images=4, out=tmp_path / "few", progress=False)
    assert few.about["n_images"] == 4
    assert (
        few.examples("[0]" if few.units["unit"][0] == "[0]" else few.units["unit"][0])[
            "label"
        ].nunique()
        == 2
    )


def test_one_stopped_goes_on(planted, tmp_path, monkeypatch):
    """The reference is the atlas that was not stopped."""
    net, x = detector(), images()[0]

    def stop(*_, **__):
        raise KeyboardInterrupt

    from nissl.atlas.images import labelled

    plan = labelled(plan_of(net, x), LABELS)
    with monkeypatch.context() as patch:
        patch.setattr(import_module("nissl.atlas.network_tables"), "shown_images", stop)
        with pytest.raises(KeyboardInterrupt):
            network_atlas(net, plan, tmp_path, test=TEST, progress=False)
    calls = []
    net.model.register_forward_hook(lambda *_: calls.append(1))
    network_atlas(net, plan, tmp_path, test=TEST, progress=False)
    assert len(calls) == 1  # a look at the shapes
    made = open_atlas(tmp_path)
    pd.testing.assert_frame_equal(made.units, planted.units)
    pd.testing.assert_frame_equal(made.examples("0[1]"), planted.examples("0[1]"))


def test_what_cannot_be_read_says_so(tmp_path):
    net, x = detector(), images()[0]

    def make(inputs, net=net, **options):
        make_atlas(net, inputs, out=tmp_path / "out", progress=False, **options)

    with pytest.raises(NisslError, match=r"60 images have labels of shape \(3,\)"):
        make(x, labels=["a", "b", "c"])
    with pytest.raises(NisslError, match="labels= are of images"):
        make(["some text"], Network(tiny("llama"), tokenizer=_Letters()), labels=["a"])
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(NisslError, match="no image transform"):
        make(tmp_path / "a.png")
    seen = Network(nn.Conv2d(3, 2, 3), transform=ImageTransform(size=8))
    for missing in ([tmp_path / "missing.png"], "missing.png", "a text " * 1000):
        with pytest.raises(NisslError, match="no such image"):
            make(missing, seen)
    with pytest.raises(NisslError, match="tokenizer"):  # a network of texts that lacks one
        make("some text")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NisslError, match="no image in the folder"):
        make(tmp_path / "empty", seen)
    (tmp_path / "b.png").write_text("not a picture")
    with pytest.raises(NisslError, match="no picture that can be read"):
        make([tmp_path / "b.png"], seen)
    with pytest.raises(NisslError, match="n_images= counts images"):
        make({"x": x}, n_images=3)


class _Letters(SimpleNamespace):
    """A tokenizer of letters."""

    def encode(self, text, **_):
        return [ord(c) % 40 for c in text]

    def __call__(self, text, **_):
        return {"input_ids": self.encode(text)}
