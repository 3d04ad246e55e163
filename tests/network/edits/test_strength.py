"""Edits of another strength change activity by so many times as much."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nissl.errors import NisslError
from nissl.network import (
    LearnedEdit,
    Network,
    SteeringVector,
    ablate,
    add,
    clamp,
    load_edit,
    patch,
    project,
    save_edit,
    scale,
    with_strength,
)

DIRECTION = torch.tensor([3.0, 4.0, 0.0])


def steering() -> LearnedEdit:
    made = SteeringVector(3)
    made.vector.data = DIRECTION.clone()
    return LearnedEdit(made, sites="0")


EDITS = [
    ablate("0[1]"),
    clamp("0[2]", to=7.0),
    clamp(sites="0", between=(0.0, 1.0)),
    scale(sites="0", by=3.0),
    add(sites="0", by=DIRECTION),
    add(sites="0", by={"0": DIRECTION}),
    project(DIRECTION, sites="0"),
    steering(),
]


@pytest.mark.parametrize("edit", EDITS, ids=str)
@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.5, 1, 2.0])
def test_the_change_is_multiplied(edit: object, strength: float, tmp_path: Path) -> None:
    net = Network(nn.Sequential(nn.Identity()))
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with net.edit(edit):
        whole = net.model(x) - x
    made = with_strength(edit, strength)
    with net.edit(made):
        found = net.model(x)
    assert torch.allclose(found, x + strength * whole, atol=1e-6)
    save_edit([made], tmp_path / "edit.json")
    with net.edit(*load_edit(tmp_path / "edit.json")):
        assert torch.equal(net.model(x), found)


def test_what_has_no_strength_is_refused() -> None:
    with pytest.raises(NisslError, match="no strength"):
        with_strength([ablate("0[1]"), patch({"0": torch.zeros(1, 3)})], 0.5)
