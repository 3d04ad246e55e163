"""Groups of a circuit's nodes are a file beside it."""

import pytest

from nissl import NisslError
from nissl.behaviour import keep_group, read_groups

A, B = "blocks.0.attn.z[head 1]", "blocks.1.mlp.out"


def test_groups_are_kept_and_taken_apart(tmp_path):
    path = tmp_path / "c.json"
    assert read_groups(path) == {}
    assert keep_group(path, " <b>movers</b> ", [A, A]) == {"<b>movers</b>": [A]}
    keep_group(path, "others", [B])
    assert read_groups(path) == {"<b>movers</b>": [A], "others": [B]}
    with pytest.raises(NisslError, match="in the group '<b>movers</b>'"):
        keep_group(path, "all", [A, B])
    keep_group(path, "others", [])
    assert read_groups(str(path)) == {"<b>movers</b>": [A]}
    assert [p.name for p in tmp_path.iterdir()] == ["c.groups.json"]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a" * 81, A])
def test_a_name_is_a_name(tmp_path, name):
    with pytest.raises(NisslError, match="no name of a group"):
        keep_group(tmp_path / "c.json", name, [A])


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other"}', '{"format": 1, "groups": 2}'])
def test_a_damaged_file_is_said_and_left(tmp_path, text):
    beside = tmp_path / "c.groups.json"
    beside.write_text(text, encoding="utf-8")
    with pytest.raises(NisslError, match="cannot be read"):
        keep_group(tmp_path / "c.json", "a", [A])
    assert beside.read_text(encoding="utf-8") == text
