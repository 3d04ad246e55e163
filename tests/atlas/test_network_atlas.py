"""The atlas of a network whose every unit was built to be something, and of nothing."""

import json
import signal
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nissl.atlas import open_atlas
from nissl.atlas.network_atlas import network_atlas
from nissl.atlas.tables import BIGRAMS, EXAMPLES, NETWORK_UNITS, TOKENS, UNITS
from nissl.atlas.unit_kinds import Rules
from nissl.errors import NisslError
from nissl.network import Network, plan_of
from nissl.recording import as_recording

TOKEN, PAIR, POSITION, LANGUAGE, DEAD, BROKEN, NOISE = 0, 1, 2, 3, 4, 5, 6
WORD, FIRST, SECOND = 7, 11, 12
N_UNITS, N_WORDS, MARK = 24, 40, 39
FEW = Rules(dead_tokens=1000)


class Planted(nn.Module):
    """Units that are one thing each, and noise that depends on the document and the place alone."""

    def __init__(self):
        super().__init__()
        self.neurons = nn.Identity()
        self.size = nn.Parameter(torch.ones(N_UNITS))

    def forward(self, input_ids, attention_mask=None):
        x = input_ids
        before = torch.cat([x[:, :1], x[:, :-1]], dim=1)
        position = torch.arange(x.shape[1]).expand_as(x)
        # Padding is zero, so the sum of a document's ids does not depend on it.
        seed = x.sum(dim=1, keepdim=True) * 12.9898 + position * 78.233
        wave = torch.sin(seed.double()[..., None] + 37.7 * torch.arange(N_UNITS)) * 43758.5453
        y = (wave - wave.floor() - 0.5).float() * self.size
        y[..., TOKEN] += 5.0 * (x == WORD)
        y[..., PAIR] -= 5.0 * ((x == SECOND) & (before == FIRST))
        y[..., POSITION] += 3.0 * torch.exp(-position / 6.0)
        y[..., LANGUAGE] += 4.0 * (x == MARK).any(dim=1, keepdim=True)
        y[..., DEAD] = -1.0
        y[..., BROKEN] = torch.where((x == 3) & (position == 9), torch.nan, y[..., BROKEN])
        y[..., NOISE] += 100.0 * (position == 0)
        return self.neurons(y)


def _seeded(seed):
    return torch.Generator().manual_seed(seed)


def texts(n=60, seed=0):
    """Documents of one window each; those of the second language have a mark in them."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        ids = rng.integers(0, N_WORDS - 1, rng.integers(45, 64))
        at = rng.choice(np.arange(4, 40, 3), 3, replace=False)
        ids[at[0]], ids[at[1]], ids[at[1] + 1] = WORD, FIRST, SECOND
        if i % 3 == 0:
            ids[-1] = MARK
        found.append(ids.tolist())
    return found


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    out = tmp_path_factory.mktemp("planted")
    net = Network(Planted(), name="planted")
    network_atlas(net, texts(), out, sites="neurons", rules=FEW, progress=False)
    return open_atlas(out)


def test_every_planted_unit_is_what_it_was_built_to_be(planted):
    units = planted.units
    kinds = units["kind"].to_numpy()
    assert len(units) == N_UNITS
    assert kinds[TOKEN] == "token"
    assert kinds[PAIR] == "bigram"
    assert kinds[POSITION] == "positional"
    assert kinds[DEAD] == "dead"
    assert (units.loc[TOKEN, "token_id"], units.loc[TOKEN, "token"]) == (WORD, f"[{WORD}]")
    assert units.loc[PAIR, ["bigram_first", "bigram_second"]].tolist() == [FIRST, SECOND]
    assert units.loc[PAIR, "bigram_effect"] < -2
    assert units.loc[POSITION, "position_share"] > 0.5
    assert units.loc[BROKEN, "nonfinite"] > 0
    assert np.isfinite(units.loc[BROKEN, "mean"])
    assert f"neurons[{BROKEN}] at sample" in planted.about["nonfinite"]


def test_noise_is_nothing(planted):
    noise = planted.units.iloc[NOISE:]
    assert (noise["kind"] == "unexplained").all()
    assert (noise["position_share"].abs() < 0.1).all()


def test_the_first_position_is_told_apart(planted):
    unit = planted.units.iloc[NOISE]
    assert unit["first_position"] > 95
    assert unit["max"] < 50
    assert (planted.examples(unit["unit"])["position"] > 0).all()


def test_statistics_and_examples_are_those_of_the_whole_activity(planted):
    net = Network(Planted(), name="planted")
    whole = [net.run([ids], sites="neurons")["neurons"][0, 1:].numpy() for ids in texts()]
    x = np.concatenate(whole).astype(float)
    units = planted.units
    for unit in (TOKEN, NOISE, 20):
        assert units.loc[unit, "count"] == len(x)
        np.testing.assert_allclose(units.loc[unit, "mean"], x[:, unit].mean(), atol=1e-5)
        np.testing.assert_allclose(units.loc[unit, "sd"], x[:, unit].std(), rtol=1e-4)
        examples = planted.examples(units.loc[unit, "unit"])
        top = examples[examples["sign"] == 1]["value"].to_numpy()
        np.testing.assert_allclose(top, np.sort(x[:, unit])[::-1][:20], rtol=1e-5)
        assert planted.arrays["histogram"][unit].sum() == len(x)


def test_contexts_hold_the_activity_around_the_place(planted):
    net = Network(Planted(), name="planted")
    arrays, documents = planted.arrays, texts()
    for example in planted.examples(planted.units.loc[TOKEN, "unit"]).to_dict("records"):
        assert arrays["token"][example["sample"]] == example["token"]
        assert example["start"] <= example["sample"] < example["stop"]
        assert (arrays["document"][example["start"] : example["stop"]] == example["document"]).all()
        if len(example["activity"]):
            ids = documents[example["document"]]
            x = net.run([ids], sites="neurons")["neurons"][0, :, TOKEN].numpy()
            first = example["position"] - (example["sample"] - example["start"])
            part = x[first : first + len(example["activity"])]
            np.testing.assert_allclose(example["activity"], part, rtol=0.01, atol=1e-4)


def test_tables_have_their_schema(planted):
    for columns, table in (
        ((*UNITS, *NETWORK_UNITS), planted.units),
        (TOKENS, planted.tokens),
        (BIGRAMS, planted.bigrams),
        (EXAMPLES, planted.examples(planted.units.loc[0, "unit"])),
    ):
        for column in columns:
            found = table[column.name]
            if column.dtype not in ("list", "str"):
                assert str(found.dtype) == column.dtype, column.name
    text = json.loads((planted.path / "vocabulary.json").read_text())
    assert text[str(WORD)] == f"[{WORD}]"


def test_labelled_documents_give_language_units(tmp_path):
    net = Network(Planted(), name="planted")
    net.tokenizer = _Numbers()
    table = pd.DataFrame({"text": [" ".join(map(str, ids)) for ids in texts()]})
    table["language"] = np.where(np.arange(len(table)) % 3 == 0, "marked", "plain")
    network_atlas(net, table, tmp_path, sites="neurons", rules=FEW, progress=False)
    units = open_atlas(tmp_path).units
    assert units.loc[LANGUAGE, ["kind", "language"]].tolist() == ["language", "marked"]
    assert units.loc[LANGUAGE, "language_q"] < 0.01
    assert (units.loc[NOISE:, "language_q"] > 0.01).all()


class _Numbers:
    """A tokenizer of numbers."""

    bos_token_id = pad_token_id = None

    def encode(self, text, **_):
        return [int(word) if word.isdigit() else 1 for word in text.split()]

    def decode(self, ids):
        return "".join(f" {i}" for i in ids)

    def convert_ids_to_tokens(self, token):
        return str(token)


def test_batches_change_nothing(planted, tmp_path):
    net = Network(Planted(), name="planted")
    plan = plan_of(net, texts(), batch_size=7)
    network_atlas(net, plan, tmp_path, sites="neurons", rules=FEW, progress=False)
    _same(planted.path, tmp_path)


def test_killed_and_resumed_gives_the_same(planted, tmp_path, monkeypatch):
    from nissl.atlas import checkpoint

    monkeypatch.setattr(checkpoint, "LEAST", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    model = Planted()
    calls = 0

    def stop(*_):
        nonlocal calls
        calls += 1
        # Two looks at the shapes and two batches pass.
        if calls == 5:
            raise KeyboardInterrupt

    hook = model.neurons.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        _in_six_batches(model, tmp_path)
    hook.remove()
    assert not (tmp_path / "atlas.json").exists()
    assert (tmp_path / "atlas.state").exists()
    counted = []
    model.neurons.register_forward_hook(lambda *_: counted.append(1))
    _in_six_batches(model, tmp_path)
    assert len(counted) == 2 + 4
    assert not (tmp_path / "atlas.state").exists()
    _same(planted.path, tmp_path)


def _in_six_batches(model, out):
    net = Network(model, name="planted")
    plan = plan_of(net, texts(), batch_size=10)
    network_atlas(net, plan, out, sites="neurons", rules=FEW, progress=False)


def test_ctrl_c_saves_the_batch_that_is_under_way(planted, tmp_path):
    model, calls = Planted(), []

    def press(*_):
        calls.append(1)
        if len(calls) == 4:  # in the second batch, after two looks at the shapes
            signal.raise_signal(signal.SIGINT)

    model.neurons.register_forward_hook(press)
    with pytest.raises(KeyboardInterrupt):
        _in_six_batches(model, tmp_path)
    assert len(calls) == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _in_six_batches(model, tmp_path)
    assert len(calls) == 4 + 2 + 4
    _same(planted.path, tmp_path)


def test_stopped_while_tables_are_written_nothing_is_read_again(planted, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    model, calls = Planted(), []
    with monkeypatch.context() as patch:
        patch.setattr("nissl.atlas.network_tables._neighbours", stop)
        with pytest.raises(KeyboardInterrupt):
            _in_six_batches(model, tmp_path)
    model.neurons.register_forward_hook(lambda *_: calls.append(1))
    _in_six_batches(model, tmp_path)
    assert len(calls) == 1  # a look at the shapes
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        p.name for p in planted.path.iterdir()
    )
    _same(planted.path, tmp_path)


def test_nothing_but_the_atlas_is_written(tmp_path, monkeypatch):
    def write(*_):
        raise AssertionError("a state was written in a short run")

    monkeypatch.setattr("nissl.atlas.checkpoint.Checkpoint.save", write)
    _in_six_batches(Planted(), tmp_path)


def test_a_state_of_another_text_is_refused(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    net = Network(Planted(), name="planted")
    monkeypatch.setattr(import_module("nissl.atlas.network_atlas"), "write_network_tables", stop)
    with pytest.raises(KeyboardInterrupt):
        network_atlas(net, texts(), tmp_path, sites="neurons", progress=False)
    with pytest.raises(NisslError, match="of another network, text or with other settings"):
        network_atlas(net, texts(seed=1), tmp_path, sites="neurons", progress=False)


@pytest.mark.parametrize("length", [1, 5, 40])
def test_one_short_text_has_an_atlas_without_preferences(tmp_path, length):
    net = Network(Planted(), name="planted")
    made = network_atlas(net, texts(1)[0][:length], tmp_path, sites="neurons", progress=False)
    units = open_atlas(tmp_path).units
    assert made["n_tokens"] == length
    assert set(units["kind"]) == {"untested"} | ({"positional"} if length == 40 else set())
    assert (units["token"] == "").all()
    assert (units["token_q"] == 1).all()


def test_images_have_an_atlas_too(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5))
    images = torch.randn(40, 1, 8, 8, generator=_seeded(1))
    net = Network(model, name="conv")
    about = network_atlas(net, images, tmp_path, sites=["1", "3"], progress=False)
    made = open_atlas(tmp_path)
    assert about["n_units"] == len(made.units) == 11
    assert made.units["count"].tolist() == [40 * 36] * 6 + [40] * 5
    assert set(made.units["kind"]) == {"untested"}
    assert all(name.startswith("1[") for row in made.units["neighbours"][:6] for name in row)


def test_features_of_a_dictionary_are_looked_at_as_units_are(tmp_path):
    from nissl.atlas import make_atlas
    from nissl.network.sites.dictionary import LinearDictionary

    # Feature 0 reads the token's unit, feature 1 the pair's, with its sign turned.
    encoder = torch.zeros(N_UNITS, 2)
    encoder[TOKEN, 0], encoder[PAIR, 1] = 1.0, -1.0
    bias = torch.tensor([-2.0, -2.0])
    features = LinearDictionary("neurons", encoder, bias, encoder.T, torch.zeros(N_UNITS))
    net = Network(Planted(), name="planted")
    net = net.with_dictionary(features)
    made = make_atlas(net, texts(), out=tmp_path, sites="neurons.sae", progress=False)
    units = made.units
    assert units["unit"].tolist() == ["neurons.sae[0]", "neurons.sae[1]"]
    assert units["kind"].tolist() == ["token", "bigram"]
    assert units["output_norm"].tolist() == [1.0, 1.0]
    assert (units["density"] < 0.1).all()
    assert made.page.exists()


def test_nothing_to_read_is_an_error(tmp_path):
    from nissl.atlas import make_atlas

    with pytest.raises(NisslError, match="nothing for the network to read"):
        make_atlas(Network(Planted()), out=tmp_path)
    with pytest.raises(NisslError, match="no option is called 'n_token'"):
        make_atlas(Network(Planted()), texts(), out=tmp_path, n_token=7)


def test_a_folder_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(NisslError, match="cannot be"):
        network_atlas(
            Network(Planted()), texts(10), blocked, sites="neurons", rules=FEW, progress=False
        )


def _same(one: Path, other: Path) -> None:
    for name in ("units", "examples", "tokens", "bigrams"):
        a, b = (pd.read_parquet(folder / f"{name}.parquet") for folder in (one, other))
        if name in ("tokens", "bigrams"):
            # Ranks beyond the first may change places where p-values are equal to rounding.
            a, b = (t[t["rank"] == 1].reset_index(drop=True) for t in (a, b))
            a, b = (t[t["q"] < 0.05].reset_index(drop=True) for t in (a, b))
        pd.testing.assert_frame_equal(a, b, rtol=1e-3, atol=1e-4)


def test_an_atlas_over_one_of_another_kind_keeps_nothing_of_it(tmp_path):
    """The reference is the same atlas in an empty folder; ours is of what was there, and stays."""
    from nissl.atlas import make_atlas

    rng = np.random.default_rng(0)
    rec = as_recording(rng.standard_normal((40, 3)), samples={"side": ["l", "r"] * 20})
    kinds = {"network": (Network(Planted()), texts()), "recording": (rec, None)}
    more = {"network": {"sites": "neurons"}, "recording": {}}
    for first, then in (("network", "recording"), ("recording", "network")):
        over, fresh = tmp_path / f"{first}-over", tmp_path / f"{first}-fresh"
        make_atlas(*kinds[first], out=over, progress=False, **more[first])
        (over / "notes.txt").write_text("mine")
        for out in (over, fresh):
            make_atlas(*kinds[then], out=out, progress=False, **more[then])
        assert {p.name for p in over.iterdir()} == {p.name for p in fresh.iterdir()} | {"notes.txt"}
