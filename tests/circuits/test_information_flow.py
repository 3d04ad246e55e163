"""Information flow routes: shares of each sum, against a slow form; and a planted route."""

import itertools

import numpy as np
import pandas as pd
import pytest

import nissl
from nissl import NisslError
from nissl.circuits import information_flow
from tiny import CAUSAL, in_doubles, tiny

TEXT = [5, 17, 9, 5, 30]


@pytest.mark.parametrize("name", CAUSAL)
def test_shares_are_one_in_all_and_those_of_a_slow_form(name):
    net = nissl.load(in_doubles(tiny(name)))
    if "blocks.0.attn.pattern" not in net.named_sites:
        with pytest.raises(NisslError, match=r"attn\.pattern"):
            information_flow(net, TEXT)
        return
    table = information_flow(net, TEXT, threshold=0).table
    shares = table.groupby(["end", "end_position"])["contribution"]
    assert (table["contribution"] >= 0).all()
    assert np.allclose(shares.sum(), 1)
    block, place = "blocks.1", 3
    sites = [f"{block}.{s}" for s in ("resid_pre", "attn.out", "mlp.out", "attn.pattern")]
    stream, out, mlp, pattern = (net.run([TEXT], sites=s)[s][0] for s in sites)
    stream, out, mlp = stream[place], out[place], mlp[place]
    # What a head adds because of one position: what is lost when its pattern there is zero, before
    # a norm that follows, whose gain is held.
    norm = net.find(f"{block}.attn.heads")[0].hook_point.post_norm
    before = f"{norm}:in" if norm else sites[1]
    raw = net.run([TEXT], sites=before)[before][0, place]
    parts = {("residual", place): stream}
    for head, source in itertools.product(range(4), range(place + 1)):
        less = pattern.clone()
        less[place, head, source] = 0
        with net.edit(nissl.patch({sites[3]: less[None]})):
            lost = raw - net.run([TEXT], sites=before)[before][0, place]
        parts[f"{block}.attn.z[head {head}]", source] = lost * (out / raw)
    total, end = stream + out, f"{block}.resid_mid"
    if f"{block}.resid_mid" not in net.named_sites:
        parts[f"{block}.mlp.out", place] = mlp
        total, end = total + mlp, f"{block}.resid_post"
    near = {k: max(float(total.abs().sum() - (total - z).abs().sum()), 0) for k, z in parts.items()}
    rows = table[(table["end"] == end) & (table["end_position"] == place)]
    found = {(r.unit, r.begin_position): r.contribution for r in rows.itertuples()}
    assert set(found) <= set(parts)
    for part, size in near.items():
        assert found.get(part, 0.0) == pytest.approx(size / sum(near.values()), abs=1e-7), part


def test_routes_lead_down_from_the_prediction_and_small_shares_are_left_out():
    net = nissl.load(tiny("llama"))
    routes, whole = information_flow(net, TEXT, position=2), information_flow(net, TEXT[:3])
    pd.testing.assert_frame_equal(routes.table, whole.table)  # what comes later is not seen
    graph = routes.graph()
    assert ("blocks.2.resid_post", 2) in graph
    assert [node for node in graph if not graph.out_degree(node)] == [("blocks.2.resid_post", 2)]
    assert {site for site, _ in graph if not graph.in_degree((site, _))} == {"embed"}
    assert routes.table["contribution"].min() >= 0.04
    assert len(information_flow(net, TEXT[:3], threshold=0.3).table) < len(routes.table)
    assert routes.units().is_monotonic_decreasing
    axes = routes.plot()
    assert [t.get_text() for t in axes.get_xticklabels()] == ["5", "17", "9", "5", "30"]
    assert len(axes.lines) == len(routes.table) + 3


@pytest.mark.parametrize("name", ["two_hops", "previous_token"])
def test_a_planted_circuit_is_the_route(name):
    """Its heads are on the route of a prediction, and bring more than any other."""
    planted = nissl.specimens.load(f"planted-{name.replace('_', '-')}")
    net = nissl.load(planted.module, tokenizer=planted.tokenizer)
    routes = information_flow(net, planted.pairs["text"].iloc[0])
    heads = routes.units().filter(like="[head")
    true = [node for node in planted.nodes if "[head" in node]
    assert true
    assert set(heads.index[: len(true)]) == set(true)


def test_what_cannot_be_is_said():
    net = nissl.load(tiny("llama"))
    for options, said in (
        ({"inputs": [[5, 6], [7, 8]]}, "2 texts"),
        ({"inputs": [5, 6], "position": 2}, "2 tokens"),
        ({"inputs": [5, 6], "threshold": 1.5}, "from 0 to 1"),
    ):
        with pytest.raises(NisslError, match=said):
            information_flow(net, **options)


def test_edits_of_patterns_are_seen_and_those_behind_them_refused():
    net, site = nissl.load(tiny("llama")), "blocks.1.attn.pattern"
    pattern = net.run([TEXT], sites=site)[site].clone()
    pattern[:, :, 2] = 0
    with net.edit(nissl.patch({site: pattern})):
        found = information_flow(net, TEXT, threshold=0).table["unit"]
    assert "blocks.1.attn.z[head 2]" not in set(found)
    with net.edit(nissl.ablate("blocks.1.attn.z[head 2]")), pytest.raises(NisslError, match="read"):
        information_flow(net, TEXT)
