"""The command listens on this machine alone, says where, and says what is wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from nissl.errors import NisslError
from nissl.web import serve, view


def test_the_command_serves_the_page_until_it_is_stopped(atlas_folder: Path) -> None:
    command = [sys.executable, "-m", "nissl.cli", "view", str(atlas_folder), "--json"]
    running = subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        address = json.loads(running.stdout.readline())["address"]
        assert address.startswith("http://127.0.0.1:")
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        with urllib.request.build_opener(cookies).open(address, timeout=30) as answer:
            assert "made-up" in answer.read().decode()
    finally:
        os.kill(running.pid, signal.SIGINT)
        assert running.wait(30) in (0, 130)


def test_a_port_in_use_and_no_atlas_are_said(atlas_folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NisslError, match=f"port {port} is in use"):
            view(atlas_folder, port=port, browser=False)
    with pytest.raises(NisslError, match="in use"):
        view(atlas_folder, port=70_000, browser=False)
    with pytest.raises(NisslError, match="not an atlas"):
        view(tmp_path, browser=False)
    with pytest.raises(NisslError, match="circuit"):
        view(atlas_folder, circuit=tmp_path / "none.json", browser=False)


@pytest.mark.parametrize("circuit", [None, "somewhere/a & b.json"])
def test_the_first_address_has_the_token_and_the_circuit(
    monkeypatch: pytest.MonkeyPatch, circuit: str | None
) -> None:
    import uvicorn

    told: list[str] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.setattr("webbrowser.open", told.append)
    serve(None, token="a/b", circuit=circuit, tell=told.append)
    shown, opened = told
    assert shown == opened
    found = urlsplit(shown)
    assert found.hostname == "127.0.0.1"
    named = {} if circuit is None else {"circuit": ["a & b"]}
    assert parse_qs(found.query) == {"token": ["a/b"], **named}
    assert found.fragment == ("" if circuit is None else "trace")


def test_an_atlas_whose_page_is_missing_or_older_is_shown(
    atlas_folder: Path, tmp_path: Path
) -> None:
    from shutil import copytree

    from nissl.atlas.page.write import page_data

    copy = copytree(atlas_folder, tmp_path / "copy")
    wanted = page_data(copy)
    for text in (None, "damaged", '<script type="application/json" id="data">{"n": 1}</script>'):
        (copy / "index.html").unlink(missing_ok=True)
        if text is not None:
            (copy / "index.html").write_text(text)
        made = page_data(copy)
        assert made["n"] == wanted["n"]
        assert made["statistics"] == wanted["statistics"]
