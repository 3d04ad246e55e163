"""Vision models see a palace; their pieces compute what they should."""

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from nissl.errors import NisslError
from nissl.specimens import ImageTransform, VisionModel, load
from nissl.specimens.efficientnet import SameConv2d
from nissl.specimens.images import read_idx
from nissl.specimens.numpy_pickle import load_arrays
from nissl.specimens.tfjs import read_tfjs
from nissl.specimens.tis import Attention, transcript_tokens

from .conftest import needs


@pytest.mark.real
@pytest.mark.parametrize("name", ["resnet50", "efficientnet-lite0"])
def test_a_palace(name: str) -> None:
    from sklearn.datasets import load_sample_image

    needs(name, limit=100e6)
    model: VisionModel = load(name)
    with torch.no_grad():
        logits = model.module(model.transform(load_sample_image("china.jpg")))
    assert model.classes[int(logits.argmax())] == "palace"
    assert len(model.classes) == 1000


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mnist", (70_000, 28, 28)),
        ("fashion-mnist", (70_000, 28, 28)),
        ("cifar10", (60_000, 32, 32, 3)),
    ],
)
def test_images(name: str, shape: tuple[int, ...]) -> None:
    needs(name)
    images = load(name)
    assert images.values.shape == shape
    assert images.values.dtype == np.uint8
    assert images.values.max() == 255
    assert sorted(set(images.labels)) == list(range(10))
    assert len(images.classes) == 10
    assert images.test.sum() == 10_000


@pytest.mark.real
def test_ten_networks_find_where_translation_begins() -> None:
    needs("tis-folds")
    rng = np.random.default_rng(0)
    leader = "".join(rng.choice(list("ACGT"), 150))
    codons = "".join(rng.choice(["GCT", "GAA", "CTG", "AAA", "GGC"], 200))
    tokens = transcript_tokens(leader + "GCCGCCACCATGGCG" + codons + "TAA")
    networks = load("tis-folds")
    assert len(networks) == 10
    for network in networks.values():
        with torch.no_grad():
            found = network(tokens).softmax(-1)[0, :, 1].argmax()
        assert int(found) == 1 + 150 + len("GCCGCCACC")


def test_the_middle_is_cut_out_and_scaled() -> None:
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = (10, 20, 30)
    transform = ImageTransform(size=8, crop=1.0, mean=(0, 0, 0), std=(10, 10, 10), order="bgr")
    found = transform([picture, picture])
    assert found.shape == (2, 3, 8, 8)
    assert found[0, :, 4, 4].tolist() == [3, 2, 1]


@pytest.mark.parametrize("picture", [np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)])
def test_what_is_no_picture(picture: np.ndarray) -> None:
    with pytest.raises(NisslError, match="a picture is"):
        ImageTransform()(picture)


def test_a_file_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(NisslError, match="no picture"):
        ImageTransform()(tmp_path / "a.png")


@pytest.mark.parametrize(("n", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (8, 5, 2), (6, 5, 1)])
def test_padding_as_tensorflow_pads(n: int, kernel: int, stride: int) -> None:
    conv = SameConv2d(1, 1, kernel, stride, bias=False)
    x = torch.randn(1, 1, n, n)
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    low, high = total // 2, total - total // 2
    expected = functional.conv2d(
        functional.pad(x, (low, high, low, high)), conv.weight, stride=stride
    )
    torch.testing.assert_close(conv(x), expected)
    assert conv(x).shape[-1] == -(-n // stride)


def test_nearby_attention_sees_the_windows_beside_its_own() -> None:
    attention = Attention(8, n_global=0, n_local=1, d_head=4, window=3)
    q, k, v = torch.randn(3, 1, 1, 10, 4)
    window = torch.arange(10) // 3
    sees = (window[:, None] - window).abs() <= 1
    scores = (q @ k.transpose(-1, -2) / 2).masked_fill(~sees, -torch.inf)
    torch.testing.assert_close(attention._near(q, k, v), scores.softmax(-1) @ v)


def test_far_attention_weighs_by_random_features() -> None:
    attention = Attention(8, n_global=1, n_local=0, d_head=4)
    attention.features = torch.randn(6, 4)
    q, k, v = torch.randn(3, 1, 1, 5, 4)

    def exponent(x: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        x = x / 4**0.25
        return x @ feature - x @ x / 2

    def highest(xs: torch.Tensor) -> torch.Tensor:
        return (xs / 4**0.25 @ attention.features.T).max()

    for query, found in zip(q[0, 0], attention._far(q, k, v)[0, 0], strict=True):
        weights = torch.zeros(5)
        for number, key in enumerate(k[0, 0]):
            for feature in attention.features:
                a = torch.exp(exponent(query, feature) - highest(query)) + 1e-4
                b = torch.exp(exponent(key, feature) - highest(k)) + 1e-4
                weights[number] += a * b
        torch.testing.assert_close(found, weights @ v[0, 0] / weights.sum())


def test_a_letter_that_no_transcript_has() -> None:
    with pytest.raises(NisslError, match="no letter 'X'"):
        transcript_tokens("ACGX")


def test_a_pickle_that_runs_code_is_refused() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1",)

    with pytest.raises(NisslError, match=r"asks for builtins\.eval"):
        load_arrays(pickle.dumps(Evil()))
    with pytest.raises(NisslError, match="cannot be read"):
        load_arrays(pickle.dumps(np.arange(100))[:40])
    for bad in (
        b"\x80\x02K\x01r\x00\xc2\xeb\x0b.",
        b"I1\np200000000\n.",
        b"\x80\x04\x8d" + b"\xff" * 8,
    ):
        tracemalloc.start()
        with pytest.raises(NisslError, match="cannot be read"):
            load_arrays(bad)
        assert tracemalloc.get_traced_memory()[1] < 1e7
        tracemalloc.stop()


@pytest.mark.parametrize(
    "model",
    ["[]", "{}", '{"weightsManifest": [{"paths": ["a.bin"], "weights": [{"name": "w"}]}]}',
     '{"weightsManifest": [{"paths": 3, "weights": []}]}', "[" * 100000,
     '{"weightsManifest": [{"paths": ["../../a"], "weights": []}]}',
     '{"weightsManifest": [{"paths": ["a.bin"], "weights": [{"name": "w", "shape": [-1],'
     ' "dtype": "int32"}]}]}'],
)  # fmt: skip
def test_a_model_of_tensorflow_js_with_other_types_is_refused(tmp_path, model):
    (tmp_path / "model.json").write_text(model)
    (tmp_path / "a.bin").write_bytes(bytes(8))
    with pytest.raises(NisslError, match=r"cannot be read|end before"):
        read_tfjs(tmp_path)


def test_shards_that_end_early(tmp_path: Path) -> None:
    weight = {"name": "w", "shape": [3], "dtype": "float32"}
    listed = {"weightsManifest": [{"paths": ["a.bin"], "weights": [weight]}]}
    (tmp_path / "model.json").write_text(json.dumps(listed))
    (tmp_path / "a.bin").write_bytes(bytes(8))
    with pytest.raises(NisslError, match="end before w"):
        read_tfjs(tmp_path)


def test_an_idx_file_that_is_short(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9, 7])))
    with pytest.raises(NisslError, match="truncated"):
        read_idx(path)
