"""Saved edits are listed, steer, are kept, and stay inside the atlas."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from live_server import TEXT, generated, refused, said
from nissl.atlas import Atlas
from nissl.errors import NisslError
from nissl.network import Network, ablate, add, load_edit, patch, save_edit, with_strength
from nissl.web.saved import SavedEdits

SITE = "blocks.1.resid_post"


@pytest.fixture
def edits(atlas: Atlas, net: Network) -> Iterator[Path]:
    """The edits of the atlas: a direction, and one that has no strength."""
    folder = atlas.path / "edits"
    width = net.find(SITE)[0].width
    direction = torch.randn(width, generator=torch.Generator().manual_seed(0))
    save_edit(add(sites=SITE, by=direction), folder / "truth.json")
    save_edit(patch({SITE: torch.zeros(1, 8, width)}), folder / "fixed.json")
    yield folder
    for file in folder.iterdir():
        file.unlink()


def test_a_direction_steers_by_its_strength(live: str, net: Network, edits: Path) -> None:
    line = {"unit": "edits/truth.json", "how": "strength", "value": -2.5}
    found = generated(live, prompt=TEXT, edits=[line], n=8)
    with net.edit(with_strength(load_edit(edits / "truth.json"), -2.5)):
        assert found["with"] == net.generate(TEXT, max_new_tokens=8)
    other = {"unit": "edits/fixed.json", "how": "strength", "value": 2}
    assert "no strength" in refused(live, "/api/touch", {"prompt": TEXT, "edits": [other]})


def test_what_there_is_is_listed(edits: Path) -> None:
    (edits / "broken.json").write_text("{")
    (edits / ".hidden.json").write_text("{}")
    fixed = edits / "fixed.json"
    listed = {line["name"]: line for line in SavedEdits(edits.parent).listed()}
    assert list(listed) == ["edits/broken.json", f"edits/{fixed.name}", "edits/truth.json"]
    assert "not JSON" in listed["edits/broken.json"]["error"]
    assert not listed["edits/fixed.json"]["strength"]
    assert listed["edits/truth.json"]["strength"]
    assert SITE in listed["edits/truth.json"]["what"]


def test_a_basket_is_kept_under_a_free_name(live: str, net: Network, edits: Path) -> None:
    basket = [
        {"unit": "edits/truth.json", "how": "strength", "value": 2},
        {"unit": "blocks.0.mlp.neurons[1]", "how": "ablate"},
    ]
    told = said(live, "/api/edit", {"edits": basket, "name": "my edits"})
    assert told["kept"] == "edits/my edits.json"
    assert told["kept"] in [line["name"] for line in told["edits"]]
    made = load_edit(edits / "my edits.json")
    with net.edit(made):
        found = net.run(TEXT, sites="logits")["logits"]
    with net.edit(
        with_strength(load_edit(edits / "truth.json"), 2), ablate("blocks.0.mlp.neurons[1]")
    ):
        assert net.run(TEXT, sites="logits")["logits"].equal(found)
    again = {"edits": basket, "name": "my edits"}
    assert "of this name" in refused(live, "/api/edit", again)
    assert "give a name" in refused(live, "/api/edit", {"edits": basket})


def test_a_full_disk_is_said_and_leaves_nothing(
    live: str, edits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, there = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), sorted(edits.iterdir())
    monkeypatch.setattr(Path, "write_bytes", Mock(side_effect=full))
    basket = [{"unit": "blocks.0.mlp.neurons[1]", "how": "ablate"}]
    told = refused(live, "/api/edit", {"edits": basket, "name": "too much"})
    assert "No space left on device" in told
    assert sorted(edits.iterdir()) == there


@pytest.mark.parametrize(
    "name",
    ["../atlas", "..", "/etc/passwd", "a/b", "a\\b", "\0", "", ".hidden", "x" * 101, "%2e%2e/a"],
)
def test_no_name_leaves_the_folder(live: str, edits: Path, name: str) -> None:
    assert "no name" in refused(live, "/api/edit", {"edits": [], "name": name})
    line = {"unit": f"edits/{name}.json", "how": "strength", "value": 1}
    assert "no name" in refused(live, "/api/touch", {"prompt": TEXT, "edits": [line]})


def test_a_link_out_of_the_folder_is_refused(edits: Path, tmp_path: Path) -> None:
    save_edit(ablate("blocks.0.mlp.neurons[1]"), tmp_path / "away.json")
    (edits / "link.json").symlink_to(tmp_path / "away.json")
    with pytest.raises(NisslError, match="outside"):
        SavedEdits(edits.parent).open("edits/link.json", 1)
    other = tmp_path / "atlas"
    other.mkdir()
    (other / "edits").symlink_to(tmp_path)
    with pytest.raises(NisslError, match="outside"):
        SavedEdits(other).open("edits/away.json", 1)


def test_in_the_page_a_saved_direction_is_chosen_and_compared(
    visit: Callable[..., Any], live: str, edits: Path
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(live)
    page.select_option("#saved", "edits/truth.json")
    page.get_by_label("Value of edits/truth.json, as a number").fill("3")
    page.locator("#touch-unit").focus()
    page.fill("#prompt", TEXT)
    page.fill("#many", "6")
    page.fill("#seed", "7")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#effect tbody tr")).to_have_count(2)
    expect(page.locator("#effect")).to_contain_text("random directions of equal norm")
    expect(page.locator("#touch-say")).to_contain_text("19 random edits")
    expect(page.locator("#random")).not_to_be_empty()
    page.fill("#edit-name", "three")
    page.get_by_role("button", name="keep", exact=True).click()
    expect(page.locator("#touch-say")).to_contain_text("edits/three.json")
    assert (edits / "three.json").exists()
    assert not axe.run(page).violations_count
    page = visit(f"{page.url}&token=secret", "dark")
    expect(page.get_by_label("Value of edits/truth.json, as a number")).to_have_value("3")
    expect(page.locator("#seed")).to_have_value("7")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#effect tbody tr")).to_have_count(2)
    found = axe.run(page)
    assert not found.violations_count, found.generate_report()
