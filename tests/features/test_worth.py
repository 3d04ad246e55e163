"""Worth: a dictionary that changes nothing recovers all, one that knows nothing little."""

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models

import nissl
from nissl import NisslError
from nissl.behaviour import losses
from nissl.features import Schedule, sae, worth
from nissl.network import LinearDictionary, clamp
from tiny import tiny

SITE = "blocks.1.resid_post"
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def trained():
    net = nissl.load(tiny("llama"), **QUIET)
    rng = np.random.default_rng(0)
    texts = [rng.integers(3, 40, 20).tolist() for _ in range(120)]
    rec = nissl.record(net, texts[:100], sites=SITE, **QUIET)
    schedule = Schedule(samples=400 * 256, batch_size=256, learning_rate=3e-3, cache=False)
    return net, sae(rec, n_features=64, k=6, schedule=schedule, **QUIET), texts[100:]


def same(net, site=SITE):
    width = net.find(site)[0].width
    eye, zero = torch.eye(width), torch.zeros(width)
    return LinearDictionary(site, eye, zero, eye, zero, activation=lambda x: x)


def test_what_is_known_stands_above_what_is_not(trained):
    net, found, texts = trained
    table = worth({"sae": found, "same": same(net)}, net, texts, **QUIET).set_index("dictionary")
    assert table.loc["same", ["explained", "recovered"]].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert table.loc["same", "loss"] == pytest.approx(losses(net, texts, **QUIET).mean(), abs=1e-6)
    assert table.loc["sae", "explained"] > 0.6 > 0.3 > table.loc["random", "explained"]
    assert table.loc["sae", "recovered"] > table.loc["random", "recovered"]
    assert 3 < table.loc["sae", "active"] <= 6
    x = torch.cat([net.run([text], sites=SITE)[SITE][0] for text in texts]).float()
    rebuilt = found(x)
    share = 1 - (x - rebuilt).square().sum() / (x - x.mean(0)).square().sum()
    assert table.loc["sae", "explained"] == pytest.approx(float(share.detach()), abs=1e-5)
    n = round(table.loc["sae", "active"])
    assert table.loc[["PCA", "neurons"], "active"].tolist() == pytest.approx([n, n])
    off = x - x.mean(0)
    kept = off.square().sort(1).values[:, -n:].sum() / off.square().sum()
    assert table.loc["neurons", "explained"] == pytest.approx(float(kept), abs=1e-5)
    assert table.loc["neurons", "explained"] < table.loc["PCA", "explained"] + 0.2


class Spliced:
    """The slow form: the whole network is run, and what is rebuilt put in at the site."""

    def __init__(self, dictionary):
        self.dictionary, self.writes = dictionary, (dictionary.site_out,)
        self.reads = () if dictionary.site_in in self.writes else (dictionary.site_in,)

    def begin(self, batch):
        self.read = None

    def apply(self, site, x, positions, phase):
        if site == self.dictionary.site_in:
            self.read = x
        d = self.dictionary
        return d.decode(d.encode(self.read)) if site == d.site_out else None


@pytest.mark.parametrize("out", ["", "blocks.1.mlp.out"])
@pytest.mark.parametrize("edited", [False, True])
def test_from_the_site_on_is_as_the_whole_run(trained, out, edited):
    net, _, texts = trained
    texts = [text[:n] for text, n in zip(texts, [20, 5, 2, 17, 9], strict=False)]
    rng = torch.Generator().manual_seed(0)
    into = "blocks.1.mlp.neurons" if out else SITE
    widths = [net.find(site)[0].width for site in (into, out or into)]
    w_enc, w_dec = (torch.randn(shape, generator=rng) for shape in ((widths[0], 9), (9, widths[1])))
    one = LinearDictionary(into, w_enc, torch.zeros(9), w_dec, torch.ones(widths[1]), site_out=out)
    how = {"window": 8, **QUIET}
    with net.edit(*[clamp(sites="blocks.0.resid_pre", between=(-1, 0.5))] * edited):
        table = worth(one, net, texts, batch_size=3, **how)
        clean = losses(net, texts, **how).mean()
        with net.edit(Spliced(one)):
            expected = losses(net, texts, **how).mean()
        rows = [
            net.run([text[i : i + 8]], sites=[into, one.site_out])
            for text in texts
            for i in range(0, len(text), 8)
        ]
        x, y = (torch.cat([row[site][0] for row in rows]) for site in (into, one.site_out))
        with net.edit(clamp(sites=one.site_out, to=y.mean(0))):
            nothing = losses(net, texts, **how).mean()
    assert table["loss"][0] == pytest.approx(expected, abs=1e-5)
    assert [*table.attrs.values()] == pytest.approx([clean, nothing], abs=1e-5)
    share = 1 - (y - one.decode(one.encode(x))).square().sum() / (y - y.mean(0)).square().sum()
    assert table["explained"][0] == pytest.approx(float(share), abs=1e-5)


def test_differences_within_the_spread_of_seeds_are_none(trained):
    net, found, texts = trained
    eye = torch.eye(net.find(SITE)[0].width)
    made = {b: LinearDictionary(SITE, eye, -b * eye[0], eye, 0 * eye[0], abs) for b in (0.1, 1, 9)}
    one = worth({str(b): d for b, d in made.items()}, net, texts, **QUIET)
    assert one["recovered_spread"].isna().all()
    assert (one["above"] == "").all()
    by = one.set_index("dictionary")["recovered"].loc[[str(b) for b in made]].sort_values()
    low, middle, high = (made[float(b)] for b in by.index)
    low_at, middle_at, high_at = by
    assert (high_at + middle_at) / 2 - low_at > high_at - middle_at > 0.01
    given = {"two": [high, middle], "middle": middle, "low": (low, low), "sae": found}
    table = worth(given, net, texts, **QUIET).set_index("dictionary")
    assert table.loc["two", "recovered"] == pytest.approx((high_at + middle_at) / 2, abs=1e-6)
    assert table.loc["two", "recovered_spread"] == pytest.approx(high_at - middle_at, abs=1e-6)
    assert table.loc["low", "recovered_spread"] == 0
    assert np.isnan(table.loc["middle", "recovered_spread"])
    above = {name: set(row.split(", ")) for name, row in table["above"].items()}
    assert "middle" not in above["two"]  # by half of the spread
    assert "low" in above["two"] & above["middle"]
    assert "two" not in above["low"]


def test_what_tokens_are_is_read_from_features_beside_control_labels():
    words = [f"Ġ{first}{n:c}" for first in "abS" for n in range(99, 123)]
    vocabulary = {name: i for i, name in enumerate([*words, *map(str, range(1000, 1024))])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="Ġac"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made)
    net = nissl.load(tiny("llama", vocab_size=96), tokenizer=tokenizer, **QUIET)
    rng = np.random.default_rng(0)
    texts = [[0, *rng.permutation(96).tolist()] for _ in range(2)]
    site = "blocks.0.resid_pre"
    with torch.no_grad():
        weight = net.model.get_input_embeddings().weight
        weight[:, :4] = torch.eye(4).repeat_interleave(24, 0)  # a unit each of a, b, S and digits
    eye, zero = torch.eye(weight.shape[1]), torch.zeros(weight.shape[1])
    known = LinearDictionary(site, eye[:, :4], zero[:4], eye[:4], zero)
    blind = LinearDictionary(site, eye[:, 4:8], zero[:4], eye[4:8], zero)
    # Where a word of a ends in one of eight letters, another feature carries both.
    with torch.no_grad():
        weight[:, 4] = torch.arange(96) < 8
    w_enc, w_dec = eye[:, :5].clone(), eye[:5].clone()
    w_enc[4, 0], w_dec[4, 0] = -1, 1
    absorbing = LinearDictionary(site, w_enc, zero[:5], w_dec, zero)
    given = {"known": known, "blind": blind, "absorbing": absorbing}
    table = worth(given, net, texts, probes=True, **QUIET).set_index("dictionary")
    assert table.loc["known", "probed"] == pytest.approx(1)
    assert table.loc["blind", "probed"] < 0.7
    assert (table["control"] - 0.5).abs().max() < 0.1
    assert table.loc["known", "absorbed"] == 0
    assert table.loc["absorbing", "absorbed"] == pytest.approx(1 / 9, abs=0.01)
    assert np.isnan(table.loc["PCA", "absorbed"])
    with pytest.raises(NisslError, match="no tokenizer"):
        worth(known, nissl.load(net.model, **QUIET), texts, probes=True, **QUIET)


def test_dictionaries_of_several_sites_or_none_are_refused(trained):
    net, found, texts = trained
    other = same(net, "blocks.0.resid_post")
    with pytest.raises(NisslError, match="other sites"):
        worth({"a": found, "b": other}, net, texts, **QUIET)
    with pytest.raises(NisslError, match="none under a name"):
        worth({"a": found, "b": []}, net, texts, **QUIET)
