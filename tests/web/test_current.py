"""An atlas that is made again while it is looked at: its rows are not those of the page."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from asgi import ask
from made_up_atlas import make_atlas
from nissl.atlas import open_atlas
from nissl.atlas.page.write import write_page
from nissl.atlas.writer import put_in_place
from nissl.web import server


@pytest.fixture
def folder(atlas_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(atlas_folder, tmp_path / "atlas"))


def make_again(folder: Path) -> None:
    put_in_place(make_atlas(folder / "atlas.partial", layers=2, seed=1), folder)


def stamp(app: Any) -> str:
    (found,) = re.findall(r'"stamp":"([^"]+)"', ask(app, "/").text)
    return str(found)


def test_it_is_opened_again_and_older_pages_are_told(folder: Path) -> None:
    app = server(open_atlas(folder), token="secret")
    open_atlas(folder).notes.write("blocks.0.mlp.neurons[3]", "kept")
    old = stamp(app)
    assert json.loads(ask(app, "/api/units", x_nissl_atlas=old).text)["total"] == 96
    make_again(folder)
    told = ask(app, "/api/unit/3", x_nissl_atlas=old)
    assert told.status == 400
    assert json.loads(told.text)["error"] == "The atlas was made again: reload the page."
    new = stamp(app)
    assert new != old
    assert json.loads(ask(app, "/api/units", x_nissl_atlas=new).text)["total"] == 64
    assert json.loads(ask(app, "/api/unit/3", x_nissl_atlas=new).text)["card"]["broken"] == []
    assert json.loads(ask(app, "/api/notes").text)["notes"]
    write_page(folder)  # what `nissl atlas` does last is no other atlas
    assert stamp(app) == new


def matched(app: Any, stamp: str) -> dict[str, Any]:
    """What is told of the pairs, once they are matched."""
    for _ in range(600):
        told: dict[str, Any] = json.loads(ask(app, "/api/beside", x_nissl_atlas=stamp).text)
        if told.get("ready"):
            return told
        assert "error" not in told
        time.sleep(0.1)
    raise AssertionError(told)


def test_a_second_atlas_is_watched_too(folder: Path, atlas_folder: Path) -> None:
    app = server(open_atlas(atlas_folder), token="secret", beside=open_atlas(folder))
    old = stamp(app)
    assert matched(app, old)["n"] == 96
    held = (folder / "atlas.json").read_bytes()
    (folder / "atlas.json").unlink()
    assert f"is gone\\n  where: {folder}" in ask(app, "/api/units").text
    (folder / "atlas.json").write_bytes(held)
    make_again(folder)
    told = ask(app, "/api/beside/pairs", x_nissl_atlas=old)
    assert json.loads(told.text)["error"] == "The atlas was made again: reload the page."
    new = stamp(app)
    assert matched(app, new)["n"] == 64
    assert json.loads(ask(app, "/api/beside/unit/63", x_nissl_atlas=new).text)["card"]
    assert ask(app, "/api/beside/unit/64", x_nissl_atlas=new).status == 400


def test_while_it_is_made_again_that_is_said(folder: Path) -> None:
    app = server(open_atlas(folder), token="secret")
    held = (folder / "atlas.json").read_bytes()
    (folder / "atlas.json").unlink()
    for path in ("/", "/api/units"):
        found = ask(app, path)
        assert found.status == 400
        assert "is being made again, or is gone" in found.text
    (folder / "atlas.json").write_bytes(held)
    assert ask(app, "/api/units").status == 200


def test_one_that_became_damaged_is_said_and_mended(folder: Path) -> None:
    app = server(open_atlas(folder), token="secret")
    held = (folder / "atlas.json").read_bytes()
    (folder / "atlas.json").write_text("{")
    assert "atlas.json cannot be read" in ask(app, "/").text
    (folder / "atlas.json").write_bytes(held)
    assert ask(app, "/").status == 200


def test_a_table_cut_short_in_its_place_does_not_end_the_server(folder: Path) -> None:
    """Memory that is mapped to a file which is cut short may not be touched."""
    app = server(open_atlas(folder), token="secret")
    assert ask(app, "/api/unit/3").status == 200
    for name in ("units.parquet", "examples.parquet"):
        with (folder / name).open("r+b") as file:
            file.truncate(100)
    for path in ("/", "/api/units", "/api/unit/3", "/api/find?text=paris"):
        found = ask(app, path.partition("?")[0], query={"text": "paris"} if "?" in path else None)
        assert found.failed is None or path.startswith("/api/find")
        assert found.status in (200, 400, 500)
