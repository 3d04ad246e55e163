"""What the page says of signs, scales, rates, places and bytes, and how it is found in."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nissl
from nissl.atlas.documents import FEW, LONGEST, cut_documents
from nissl.atlas.network_atlas import _places
from nissl.atlas.page.cards import Strings, cards
from nissl.atlas.page.statistic import statistics_of
from nissl.atlas.page.text import page_text
from nissl.atlas.page.write import write_page
from nissl.atlas.recording_atlas import recording_atlas
from nissl.atlas.vocabulary import Vocabulary, joined, joined_tokens
from nissl.network import Network, plan_of
from nissl.network.record.activation_threshold import active_above
from nissl.network.record.site_samples import grids_of
from nissl.recording import as_recording
from nissl.statistics import Test
from tiny import tiny


def unit(**more):
    row = {"unit": "a[0]", "kind": "token", "token": "cat", "token_q": 1e-9, "token_effect": -3.0}
    lists = {
        "promoted": ["up", "high"],
        "promoted_logit": [2.0, 1.0],
        "suppressed": ["down", "low"],
        "suppressed_logit": [-4.0, -3.0],
    }
    return pd.DataFrame([{**row, **lists, **more}])


@pytest.mark.parametrize("effect", [3.0, -3.0])
def test_what_a_unit_writes_is_that_of_what_it_does_at_its_token(tmp_path, effect):
    (card,) = cards(tmp_path, unit(token_effect=effect), [0], Strings())
    # Output weights times the activity there: its sign turns both lists.
    logits = {"up": 2.0, "high": 1.0, "down": -4.0, "low": -3.0}
    sign = np.sign(effect)
    want = sorted(((sign * v, t) for t, v in logits.items()), reverse=True)
    assert [t for t, v in card["promoted"]] == [t for v, t in want[:2]]
    assert all(v == sign * logits[t] for t, v in card["promoted"] + card["suppressed"])
    assert all(v > 0 for _, v in card["promoted"])


def test_what_was_not_tested_or_not_found_says_so(tmp_path):
    (card,) = cards(tmp_path, unit(kind="unexplained", token_share=0.25), [0], Strings())
    assert "no one token explains it" in card["reason"][0]
    assert "25% of its extremes" in card["reason"][-1]
    (card,) = cards(tmp_path, unit(kind="untested"), [0], Strings())
    assert card["reason"] == ["nothing could be tested of it"]
    table = pd.DataFrame({"kind": ["untested"] * 2 + ["token"], "site": "m", "token": ""})
    intro = page_text(table, {"responding": 3})["intro"]
    assert "2 were not tested" in intro
    assert "2 more respond to some" in intro


def test_signed_effects_diverge_and_the_significant_is_darkest():
    table = pd.DataFrame({"token_effect": [-1.0, 2], "token_q": [0.1, 1], "speed_q": [0.1, 1]})
    scales = {s.name: s.scale for s in statistics_of(table)}
    assert list(scales.values()) == ["diverging", "significance", "significance"]


@pytest.mark.parametrize("texts", ["book", ["book"], pd.DataFrame({"text": ["book", "a"]})])
def test_few_long_texts_are_cut_into_documents(texts):
    book = "".join(f"Paragraph {i}. {'Words of it. ' * (i % 40)}\n\n" for i in range(200))
    put = {"book": book}
    if isinstance(texts, pd.DataFrame):
        given = texts.assign(text=[put.get(t, t) for t in texts["text"]], language=["en", "de"])
    else:
        given = book if isinstance(texts, str) else [book]
    cut, n = cut_documents(given)
    assert n == 1
    assert len(cut) >= len(book) / (2 * LONGEST)
    assert cut["text"].str.len().max() <= LONGEST
    assert "".join(cut["text"]).startswith(book)
    if "language" in cut:
        assert set(cut["language"][:-1]) == {"en"}
    for whole in ([book] * FEW, ["short"], [[1, 2, 3]], torch.zeros(2, 3)):
        assert cut_documents(whole)[0] is whole


def test_the_threshold_of_activity_is_not_that_of_one_token():
    net = Network(tiny("llama"))
    texts = np.random.default_rng(0).integers(3, 40, (8, 40)).tolist()
    site = "blocks.1.mlp.neurons"
    usual = active_above(net, [site], plan_of(net, texts))[site][0]
    # At one position of forty the layer's output is a thousandfold.
    with net.edit(nissl.scale(sites=site, by=1000.0, positions=20)):
        made = active_above(net, [site], plan_of(net, texts))[site][0]
    assert np.abs(np.log(made / usual)).max() < 0.1


class Shapes(nn.Module):
    """Sites of 4 x 4 and of 2 x 8 places: equally many."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)

    def forward(self, x):
        other = x.reshape(len(x), 1, 2, 8)
        return self.a(x).flatten(1) + self.b(other).flatten(1) + self.c(x).flatten(1)


def test_neighbours_are_of_the_same_places():
    net = Network(Shapes())
    plan = plan_of(net, torch.zeros(3, 1, 4, 4))
    keys = {
        g.site.name: _places(g, g.n_samples(plan)) for g in grids_of(net, plan, ["a", "b", "c"])
    }
    assert keys["a"] == keys["c"] != keys["b"]


def test_rates_degrees_places_and_rest(tmp_path):
    rng = np.random.default_rng(0)
    n = 2400
    angle = (np.cumsum(rng.normal(0, 0.3, n))) % (2 * np.pi)
    speed = rng.exponential(1.0, n)
    kind = np.array(["rest", "face"])[np.arange(n) // 20 % 2]
    rate = 0.5 + 3.0 * (np.cos(angle - np.pi) > 0.8) + 2.0 * (kind == "face")
    rec = as_recording(
        rng.poisson(rate)[:, None].astype(float),
        samples={"time": np.arange(n) * 0.1, "angle": angle, "speed": speed, "kind": kind},
    ).assign_attrs(quantity="spikes", bin=0.1)
    rec["angle"].attrs["period"] = 2 * np.pi
    recording_atlas(rec, tmp_path, test=Test(n_permutations=199), progress=False)
    page = write_page(tmp_path).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    curves = {c["name"]: c for c in data["cards"][0]["tuning"]}
    assert {c["what"] for c in curves.values()} == {"Hz"}
    by_kind = {k: rec.values[kind == k].mean() / 0.1 for k in ("rest", "face")}
    shown = dict(zip(curves["kind"]["names"], curves["kind"]["y"], strict=True))
    assert shown == pytest.approx(by_kind, rel=1e-3)
    assert f"{by_kind['face'] - by_kind['rest']:.2g} Hz over rest" in curves["kind"]["says"]
    widths = np.diff(curves["speed"]["x"])  # bins hold equally many: the last are the widest
    assert widths[-1] > 3 * widths[0]
    statistic = next(s for s in data["statistics"] if s["name"] == "angle_preferred")
    assert statistic["unit"] == "°"
    assert "most at 1" in curves["angle"]["says"]
    assert "°" in curves["angle"]["says"]


def test_bytes_of_tokens_become_characters():
    text = "日本 naïve"
    raw = text.encode()
    for step in (1, 2, 3, 5):
        parts = [raw[a : a + step] for a in range(0, len(raw), step)]
        tokens = ["".join(f"<0x{b:02X}>" for b in part) for part in parts]
        assert joined("".join(tokens)) == text
        made = joined_tokens(tokens, 0)
        assert len(made) == len(tokens)
        assert "".join(made) == text
    assert joined_tokens(["<0xE6><0x97>", "<0xA5>"], 0) == ["日", ""]
    assert joined("a<0xE6>b") == "a<0xE6>b"


def test_parts_of_characters_are_kept_as_bytes():
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    words = Vocabulary(type("Net", (), {"tokenizer": fast})())
    ids = fast.encode("é東 x")
    assert joined("".join(words(i) for i in ids)) == "é東 x"
    assert "".join(joined_tokens([words(i) for i in ids], 1)) == "é東 x"


@pytest.fixture(scope="module")
def larger(tmp_path_factory, atlas_maker):
    folder = atlas_maker(tmp_path_factory.mktemp("atlas") / "larger", layers=2, width=300)
    return write_page(folder, n_cards=20)


def test_every_unit_is_told_beside_the_page(larger):
    units = pd.read_parquet(larger.parent / "units.parquet")
    examples = pd.read_parquet(larger.parent / "examples.parquet")
    told = {}
    for file in sorted((larger.parent / "units").glob("*.js")):
        made = json.loads(re.fullmatch(r"nisslUnits\((.*)\);", file.read_text(), re.S)[1])
        told |= {card["row"]: (card, made["strings"]) for card in made["cards"]}
    assert sorted(told) == list(range(len(units)))
    first = examples[(examples["rank"] == 1) & (examples["sign"] == 1)].set_index("row")
    for row in (0, 511, 512, 599):
        card, strings = told[row]
        assert card["high"][0]["i"] == first.loc[row, "sample"]
        assert card["high"][0]["v"] == pytest.approx(first.loc[row, "value"], rel=1e-3)
        assert len(card["high"]) == 4
        assert all(strings[t] for t in card["high"][0]["t"])
        assert card["promoted"]


PROBE = """
addEventListener("load", async () => {
  const said = [], wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const input = document.getElementById("search"), unit = document.getElementById("unit");
  for (const text of ["·cat", "layer 1", "1/7", "nothing at all"]) {
    input.value = text;
    input.dispatchEvent(new Event("input"));
    said.push([document.querySelectorAll("#found [role=option]").length,
      (document.querySelector("#found .count") || {}).textContent]);
  }
  document.querySelectorAll("#kinds-legend button")[1].click();
  said.push([...document.querySelectorAll("#tabs [aria-pressed=true]")].map((b) => b.textContent));
  document.querySelector(".card .address").click();
  said.push(unit.open);
  history.back();
  await wait(1500);
  said.push([unit.open, location.hash]);
  const pre = document.createElement("pre");
  pre.id = "probe";
  pre.textContent = JSON.stringify(said);
  document.body.append(pre);
});
"""


def test_units_open_search_counts_the_legend_filters_and_back_closes(larger, dom):
    units = pd.read_parquet(larger.parent / "units.parquet")
    opened = dom(larger, fragment="#blocks.1.mlp.neurons%5B299%5D")
    sheet = opened[opened.index('<dialog id="unit"') :]
    assert "Where it is highest" in sheet
    assert "Its output raises the logits of" in sheet
    probed = dom(larger, PROBE)
    said = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', probed)[1].replace("&amp;", "&"))
    n_cat = int((units["token"].str.strip() == "cat").sum())
    assert said[0][0] == min(n_cat, 30)
    assert n_cat < 2 or f"{n_cat} units" in said[0][1]
    assert said[1] == [30, "300 units, the strongest 30 shown"]
    assert said[2][0] == 1
    assert said[3][0] == 0
    assert len(said[4]) == 1
    assert said[4] != ["all"]
    assert said[5] is True
    assert said[6] == [False, ""]


def test_a_unit_without_layer_has_no_panel_of_its_own_layer(tmp_path):
    texts = np.random.default_rng(0).integers(3, 40, (8, 40)).tolist()
    net = Network(tiny("llama"))
    for sites in (["embed", "mlp.neurons"], ["embed"]):
        made = nissl.make_atlas(net, texts, out=tmp_path, sites=sites, progress=False)
        assert (made.units.loc[made.units["site"] == "embed", "layer"] == -1).all()
        data = page_data(made.page)
        assert [s["long"] for s in data["sites"]] == list(dict.fromkeys(made.units["site"]))
        assert data["group"] == "site"
        assert "layer -1" not in made.page.read_text()
        assert "layer" not in {s["name"] for s in data["statistics"]}


def page_data(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.S)[1])


def test_samples_of_a_recording_say_what_they_are(tmp_path):
    rng = np.random.default_rng(0)
    x = 2000 + rng.standard_normal((80, 2))
    x[7, 0] = np.nan
    samples = {
        "run": np.arange(80) // 20,
        "time": np.arange(80) % 20 * 2.5,
        "seen": ["a", "b"] * 40,
    }
    recording_atlas(as_recording(x, samples=samples), tmp_path, progress=False)
    (card, _) = sorted(page_data(write_page(tmp_path))["cards"], key=lambda c: c["row"])
    best = int(np.nanargmax(x[:, 0]))
    assert len([c for c in card["high"] if "a" in c]) == 8
    place = card["high"][0]
    run, time = samples["run"][best], samples["time"][best]
    assert place["l"] == f"run {run}, time {time:.4g} s, seen {'ab'[best % 2]}"
    # Drawn from the unit's lowest to its highest, however far from zero both are.
    low, high = np.nanmin(x[:, 0]), np.nanmax(x[:, 0])
    around = x[max(best - 12, 20 * run) : min(best + 13, 20 * run + 20), 0]
    expected = [
        None if np.isnan(v) else round(254 * (v - low) / (high - low) - 127) for v in around
    ]
    assert place["a"] == expected
    assert place["a"][place["at"]] == 127


def test_bytes_of_characters_that_lie_beyond_are_left_out():
    from nissl.atlas.page.words import _whole

    raw = ["<0xAD>", "<0xE4>", "<0xB8>", "<0xAD>", "b", "<0xE4>", "<0xB8>"]
    assert _whole(joined_tokens(raw, 4), 4) == ["", "", "", "中", "b", "", ""]
    assert _whole(joined_tokens(raw, 6), 6)[-1] == "<0xE4><0xB8>"  # what is looked at stays


COLOURS = """
addEventListener("load", () => {
  const at = (id) => document.getElementById(id), said = {};
  for (const name of ["density", "token_effect"]) {
    at("statistic").value = name;
    at("statistic").dispatchEvent(new Event("change"));
    const { width, height } = at("unit-map"), seen = new Set();
    const { data } = at("unit-map").getContext("2d").getImageData(0, 0, width, height);
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255)
      seen.add([...data.slice(i, i + 3)].join());
    const mark = document.querySelector("#scale i");
    said[name] = [[...seen], mark && getComputedStyle(mark).backgroundColor.match(/[0-9]+/g).join(),
      at("scale").textContent];
  }
  const pre = document.createElement("pre");
  pre.id = "probe";
  pre.textContent = JSON.stringify(said);
  document.body.append(pre);
});
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_zero_has_the_colour_of_zero(tmp_path, dom, theme):
    table = pd.DataFrame(
        {
            "unit": [f"a[{i}]" for i in range(6)],
            "site": "a",
            "layer": -1,
            "index": range(6),
            "kind": "token",
            "token": "x",
            "token_q": 0.001,
            "density": [0.0, 0.0, 0.001, 0.01, 0.1, 1.0],
            "token_effect": [-2.0, 0.0, 0.0, 1.0, 3.0, 4.0],
        }
    )
    table.to_parquet(tmp_path / "units.parquet")
    (tmp_path / "atlas.json").write_text("{}")
    page = write_page(tmp_path)
    turned = "document.getElementById('theme').click();" if theme == "dark" else ""
    script = COLOURS.replace("said = {};", f"said = {{}}; {turned}")
    shown = dom(page, script)
    said = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', shown)[1])
    colours, mark, scale = said["density"]
    ramp = {"light": "246,243,238", "dark": "29,26,36"}[theme]  # the least of what is shown
    assert mark in colours
    assert ramp in colours
    assert mark != ramp
    assert scale.startswith("zero0.1%")
    # Signed: zero in the middle of its colours, though what occurs lies further on one side.
    colours, mark, scale = said["token_effect"]
    assert ramp in colours
    assert mark is None
    assert scale.startswith("-2 sd4 sd")
