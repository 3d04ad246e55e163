"""Foreign pages, other hosts, no token, paths outside and markup in a token fail."""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nissl.web.inside import inside

PATHS = ("/", "/api/columns", "/api/units", "/api/unit/0", "/api/find?text=x", "/api/units.csv")


def ask(
    served: str, path: str, *, host: str | None = None, method: str = "GET", **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Ask as a browser would, with any header forged; one by name with `_` for `-`."""
    place = urlsplit(served)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host or place.netloc)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, text, {k.lower(): v for k, v in answer.getheaders()}


@pytest.fixture
def cookie(served: str) -> str:
    status, _, headers = ask(served, f"/?{urlsplit(served).query}")
    assert status == 303
    assert headers["location"] == "/"
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    return headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("path", PATHS)
def test_the_token_opens_all_and_nothing_opens_without_it(
    served: str, cookie: str, path: str
) -> None:
    assert ask(served, path, Cookie=cookie)[0] == 200
    assert ask(served, path)[0] == 401
    assert ask(served, path, Cookie=cookie[:-1])[0] == 401
    assert ask(served, path, Cookie=f"{cookie.partition('=')[0]}=")[0] == 401
    mark = "&" if "?" in path else "?"
    assert ask(served, f"{path}{mark}token=guess")[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_pages_may_not_ask(served: str, cookie: str, headers: dict[str, str]) -> None:
    assert ask(served, "/api/units", Cookie=cookie, **headers)[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7007", "127.0.0.1.evil.example", "0.0.0.0:80", "[::1]"]
)
def test_other_hosts_are_refused(served: str, cookie: str, host: str) -> None:
    assert ask(served, "/api/units", host=host, Cookie=cookie)[0] == 403


def test_the_token_leads_to_this_host_alone(served: str) -> None:
    _, _, headers = ask(served, f"//evil.example/a?sort=mean&{urlsplit(served).query}")
    assert headers["location"] == "/evil.example/a?sort=mean"


def test_answers_may_not_be_framed_or_kept(served: str, cookie: str) -> None:
    _, _, headers = ask(served, "/", Cookie=cookie)
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["/images/../atlas.json", "/images/%2e%2e%2fatlas.json", "/images//etc/passwd", "/atlas.json"],
)
def test_paths_outside_are_not_there(served: str, cookie: str, path: str) -> None:
    assert ask(served, path, Cookie=cookie)[0] == 404


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.png").symlink_to(tmp_path / "secret.txt")
    (folder / "own.png").write_text("picture")
    assert inside(folder, "own.png") == folder / "own.png"
    for name in ("link.png", "../secret.txt", "", ".", "none.png", "a\0b"):
        assert inside(folder, name) is None


def test_texts_of_the_data_are_not_markup(served: str, cookie: str, atlas_folder: Path) -> None:
    assert "</script>" in (atlas_folder / "vocabulary.json").read_text()
    page = ask(served, "/", Cookie=cookie)[1]
    assert "\\u003c/script>" in page
    assert page.count("</script>") == 2  # that of the data, and that of the scripts


def test_errors_are_said_as_json(served: str, cookie: str) -> None:
    status, text, headers = ask(served, "/api/units?where=densty+%3C+1", Cookie=cookie)
    assert status == 400
    assert "density" in text
    assert headers["content-type"].startswith("application/json")
    assert ask(served, "/api/unit/x", Cookie=cookie)[0] == 422
    headers = {"Content_Type": "application/json", "Content_Length": "0", "Cookie": cookie}
    assert ask(served, "/api/units", method="POST", **headers)[0] == 405
    assert ask(served, "/api/try", method="POST", Cookie=cookie)[0] == 415
    form = headers | {"Content_Type": "text/plain"}
    assert ask(served, "/api/try", method="POST", **form)[0] == 415
    large = headers | {"Content_Length": "3000000"}
    assert ask(served, "/api/try", method="POST", **large)[0] == 413
