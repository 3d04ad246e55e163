"""The circuits that have a unit, and the directions that lie near what it writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from live_server import said
from nissl.atlas import Atlas
from nissl.behaviour import CircuitTable
from nissl.errors import NisslError
from nissl.features import ReLU, TrainedDictionary, load, nearest_directions
from nissl.network import Network
from nissl.web.circuits import Circuits
from nissl.web.told_directions import told_directions
from nissl.web.unit_circuits import UnitCircuits

SITE, FEATURES = "blocks.0.mlp.neurons", "blocks.0.resid_post.sae"


@pytest.fixture(scope="module")
def dictionary(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty random features; number 5 lies along neuron 3, number 6 against neuron 4."""
    write = net.output_weights(SITE)
    made = TrainedDictionary(ReLU(), 20, write.shape[1], site_in="blocks.0.resid_post")
    torch.manual_seed(0)
    made.w_dec.data = torch.nn.functional.normalize(torch.randn(20, write.shape[1]), dim=1)
    made.w_dec.data[5] = write[3] / write[3].norm()
    made.w_dec.data[6] = -write[4] / write[4].norm()
    return made.save(tmp_path_factory.mktemp("sae") / "dictionary.safetensors")


@pytest.fixture(scope="module")
def with_sae(net: Network, dictionary: Path) -> Network:
    return net.with_dictionary(load(dictionary))


def test_the_nearest_are_told_with_what_chance_makes(with_sae: Network) -> None:
    found = nearest_directions(with_sae, f"{SITE}[4]")
    told = told_directions(with_sae, f"{SITE}[4]")
    assert (told["of"], told["n"], told["why"]) == ("features", 20, "")
    assert told["nearest"][0] == {"unit": f"{FEATURES}[6]", "cosine": -1.0}
    assert [line["unit"] for line in told["nearest"]] == found.units[:8]
    assert told["p"] == pytest.approx(1 / 201)
    assert 0 < told["null"][0] < told["null"][1] < 1
    assert told_directions(with_sae, f"{FEATURES}[6]")["of"] == "neurons"


def test_where_nothing_is_near_it_says_why(net: Network, with_sae: Network) -> None:
    assert "--dictionary FILE" in told_directions(net, f"{SITE}[0]")["why"]
    assert "--dictionary FILE" in told_directions(with_sae, "blocks.1.mlp.neurons[0]")["why"]
    for unit in (f"{SITE}[100000]", "blocks.0", "nothing"):
        with pytest.raises(NisslError):
            told_directions(with_sae, unit)


def test_a_unit_is_found_in_circuits_itself_or_by_its_head_or_mlp(tmp_path: Path) -> None:
    folder = tmp_path / "circuits"
    folder.mkdir()
    nodes = ["blocks.0.mlp.neurons[3]", "blocks.0.attn.z[head 1]", "blocks.1.mlp.neurons[3]"]
    effects = np.array([0.5, -2.0, 0.1])
    CircuitTable("of nodes", "tiny", "nodes", 1.0, nodes, effects).save(folder / "nodes.json")
    edges = ["embed -> blocks.0.mlp.out", "blocks.0.mlp.out -> logits", "embed -> logits"]
    effects = np.array([1.0, -3.0, 0.5])
    CircuitTable("of edges", "tiny", "edges", 1.0, edges, effects).save(folder / "edges.json")
    (folder / "bad.json").write_text("{")
    among = UnitCircuits(Circuits(tmp_path))
    bad, of_edges, of_nodes = among("blocks.0.mlp.neurons[3]")
    assert bad["circuit"] == "bad"
    assert bad["wrong"]
    told = {"circuit": "edges", "node": "blocks.0.mlp.out", "effect": -3.0, "rank": 1, "n": 2}
    assert of_edges == told
    told = {"circuit": "nodes", "node": "blocks.0.mlp.neurons[3]", "effect": 0.5, "rank": 2, "n": 3}
    assert of_nodes == told
    (folder / "bad.json").unlink()
    assert [f["node"] for f in among("blocks.0.mlp.neurons[4]")] == ["blocks.0.mlp.out"]
    assert [f["node"] for f in among("blocks.0.attn.z[head 1]")] == ["blocks.0.attn.z[head 1]"]
    assert among("blocks.0.attn.z[head 2]") == []
    assert among("ADN[3]") == []


def test_the_sheet_tells_both(
    browser: Any,
    serve: Callable[..., str],
    atlas: Atlas,
    net: Network,
    dictionary: Path,
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    folder = atlas.path / "circuits"
    folder.mkdir(exist_ok=True)
    units = [f"{SITE}[3]", f"{SITE}[4]"]
    table = CircuitTable("mine", "tiny", "nodes", 1.0, units, np.array([0.5, -2.0]))
    file = table.save(folder / "mine.json")
    try:
        live = serve(atlas, net, [dictionary])
        found = said(live, "/api/directions", {"unit": f"{SITE}[3]"})
        assert found["nearest"][0]["unit"] == f"{FEATURES}[5]"
        page = browser.new_page()
        page.goto(f"{live}#{SITE}[3]".replace("[", "%5B").replace("]", "%5D"))
        expect(page.locator("#unit-circuits")).to_contain_text("2 of 2")
        page.get_by_role("button", name="find the nearest").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#unit")).to_contain_text(f"{FEATURES}[5]")
        expect(page.locator("#unit")).to_contain_text("in 19 of 20 at most")
        result = axe.run(page)
        page.close()
        assert not result.violations_count, result.generate_report()
    finally:
        file.unlink()
