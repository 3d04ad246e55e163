"""Features of a dictionary, live: those of an atlas, those beside it, and those that are gone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nissl
from live_server import TEXT, generated, refused, said
from nissl.atlas import Atlas, open_atlas
from nissl.features import ReLU, TrainedDictionary, load
from nissl.network import Network, ablate
from nissl.web.live import Live

SITE = "embed.sae"
WORDS = ("w1", "w9")  # feature 0 fires at the first, feature 1 at the second, 2 never


@pytest.fixture(scope="module")
def dictionary(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dictionary built by hand, as a file."""
    ids = net.require_tokenizer().convert_tokens_to_ids(list(WORDS))
    table = net.model.get_input_embeddings().weight.detach().float()
    made = TrainedDictionary(ReLU(), 3, table.shape[1], site_in="embed")
    made.w_dec.data.zero_()
    made.w_enc.data.zero_()
    made.b_enc.data.fill_(-1.0)
    for feature, word in enumerate(ids):
        # Above 0 at its word, below at all others: a separating direction by least squares.
        target = torch.zeros(len(table))
        target[word] = 1.0
        read = torch.linalg.lstsq(table, target[:, None]).solution[:, 0]
        scores = table @ read
        others = torch.cat([scores[:word], scores[word + 1 :]]).max()
        assert scores[word] > others
        made.w_enc.data[feature] = 2 * read / (scores[word] - others)
        made.b_enc.data[feature] = 1 - 2 * scores[word] / (scores[word] - others)
        made.w_dec.data[feature] = table[word]
    return made.save(tmp_path_factory.mktemp("sae") / "dictionary.safetensors")


@pytest.fixture(scope="module")
def of_features(
    net: Network, dictionary: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Atlas, Path]:
    """An atlas of those features, beside a copy of the file."""
    out = tmp_path_factory.mktemp("features")
    file = shutil.copy(dictionary, out / "mine.safetensors")
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 36, 40)) for _ in range(12)]
    with_sae = net.with_dictionary(load(file))
    nissl.atlas.make_atlas(with_sae, texts, out=out / "atlas", sites=SITE, progress=False)
    return open_atlas(out / "atlas"), Path(file)


def fired(found: dict[str, Any]) -> dict[str, list[str]]:
    """The words at which each unit fires."""
    return {
        unit["unit"]: [w for w, a in zip(found["tokens"], unit["activity"], strict=True) if a > 0]
        for unit in found["units"]
    }


def test_features_fire_beside_neurons_where_they_were_planted(
    serve: Callable[..., str], atlas: Atlas, net: Network, dictionary: Path
) -> None:
    live = serve(atlas, net, [dictionary])
    assert said(live, "/api/try", {"text": TEXT})["features"] == 3
    found = said(live, "/api/try", {"text": TEXT, "features": True})
    assert fired(found) == {f"{SITE}[0]": ["w1", "w1"], f"{SITE}[1]": ["w9"]}
    (one,) = (unit for unit in found["units"] if unit["unit"] == f"{SITE}[0]")
    assert one["on"] == 2
    assert one["size"] == pytest.approx(one["activity"][1], rel=1e-4)  # it adds the embedding
    body = {"text": TEXT, "features": True, "position": 5, "here": True}
    assert fired(said(live, "/api/try", body)) == {f"{SITE}[1]": ["w9"]}
    both = [f"{SITE}[0]", "blocks.1.mlp.neurons[5]"]
    assert {u["unit"] for u in said(live, "/api/try", {"text": TEXT, "units": both})["units"]} == {
        *both
    }
    told = said(live, "/api/feature", {"unit": f"{SITE}[1]"})
    assert len(told["promoted"]) == len(told["suppressed"]) == 5
    assert told["promoted"][0][1] > 0 > told["suppressed"][0][1]
    assert "0 to 2" in refused(live, "/api/feature", {"unit": f"{SITE}[9]"})


def test_features_are_touched_as_python_touches_them(
    serve: Callable[..., str], of_features: tuple[Atlas, Path], net: Network
) -> None:
    made, file = of_features
    live = serve(made, net)
    found = said(live, "/api/try", {"text": TEXT})
    assert found["note"] == ""
    assert fired(found)[f"{SITE}[0]"] == ["w1", "w1"]
    unit = {"unit": f"{SITE}[0]", "how": "scale", "value": -8}
    edit = nissl.network.scale(f"{SITE}[0]", by=-8)
    with net.with_dictionary(load(file)).edit(edit):
        wanted = net.generate(TEXT, max_new_tokens=10)
    assert generated(live, prompt=TEXT, edits=[unit], n=10)["with"] == wanted


def test_the_atlas_names_the_file_and_its_content(of_features: tuple[Atlas, Path]) -> None:
    made, file = of_features
    (named,) = made.about["dictionaries"]
    assert named["site"] == SITE
    assert (made.path / named["file"]).resolve() == file.resolve()


@pytest.mark.parametrize("what", ["gone", "another", "unnamed", "given"])
def test_a_dictionary_that_is_not_there_is_said_and_all_else_works(
    serve: Callable[..., str],
    of_features: tuple[Atlas, Path],
    net: Network,
    tmp_path: Path,
    what: str,
) -> None:
    made, file = of_features
    shutil.copytree(made.path, tmp_path / "atlas")
    about = json.loads((tmp_path / "atlas" / "atlas.json").read_text())
    if what == "another":
        other = load(file)
        other.w_dec.data *= 2
        other.save(tmp_path / "mine.safetensors")
    if what == "unnamed":
        del about["dictionaries"]
    (tmp_path / "atlas" / "atlas.json").write_text(json.dumps(about))
    moved = open_atlas(tmp_path / "atlas")
    live = serve(moved, net, [file] if what == "given" else [])
    found = said(live, "/api/try", {"text": TEXT})
    assert len(found["lens"]) == 3
    if what == "given":
        assert fired(found)[f"{SITE}[0]"] == ["w1", "w1"]
        return
    words = {"gone": "not at ../mine", "another": "another dictionary", "unnamed": "does not name"}
    assert words.get(what, "") in found["note"] or "cannot be read" in found["note"]
    assert "--dictionary FILE" in found["note"]
    assert found["units"] == []
    if what != "another":
        assert words[what] in Live(moved).note  # before the model is loaded
    edit = ablate("blocks.0.attn.z[head 1]")
    with net.edit(edit):
        wanted = net.generate(TEXT, max_new_tokens=5)
    said_edit = {"unit": "blocks.0.attn.z[head 1]", "how": "ablate"}
    assert generated(live, prompt=TEXT, edits=[said_edit], n=5)["with"] == wanted


def test_neurons_and_features_are_switched_in_the_page(
    visit: Callable[..., Any],
    serve: Callable[..., str],
    atlas: Atlas,
    net: Network,
    dictionary: Path,
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    address = serve(atlas, net, [dictionary]) + f"&try={TEXT.replace(' ', '+')}&heads=1"
    page = visit(address)
    expect(page.locator("#fired tbody tr")).to_have_count(30)
    page.select_option("#of", "features")
    expect(page.locator("#fired tbody tr")).to_have_count(2)
    page.locator("#fired .link", has_text=f"{SITE}[1]").click()
    expect(page.locator("#feature")).to_contain_text("raises the logits")
    page.get_by_role("button", name=f"Touch {SITE}[1]").click()
    expect(page.locator("#basket tr")).to_have_count(1)
    page.select_option("#units", "basket")
    expect(page.locator("#fired tbody tr")).to_have_count(1)
    expect(page.locator("#heads button")).to_have_count(12)
    assert not axe.run(page).violations_count
    page = visit(f"{page.url}&token=secret", "dark")
    expect(page.locator("#fired tbody tr")).to_have_count(1)
    expect(page.locator("#heads button")).to_have_count(12)
    found = axe.run(page)
    assert not found.violations_count, found.generate_report()
