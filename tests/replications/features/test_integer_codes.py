"""Integer codes: heads that are given a direction in some texts, and none that are not."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nissl.features import head_codes
from nissl.network import nodes_of
from nissl.statistics import Test

SCRIPT = Path(__file__).parents[3] / "replications" / "features" / "integer_codes.py"
HEADS = ["blocks.0.attn.z[head 3]", "blocks.1.attn.z[head 6]"]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_planted_heads_are_found_and_shared_counts_them(script):
    net, positive, negative = script["induction"]("zeroed")
    assert [text.split()[:-1] for text in positive] == [text.split()[:-1] for text in negative]
    assert not any(text.split()[-1] in text.split()[:-1] for text in negative)
    with net.edit(script["Planted"](net, HEADS, positive)):
        found = head_codes(net, positive, negative, test=Test(199), progress=False)
    # A head of the second block may see what the first block's writes.
    assert set(HEADS) <= set(found.significant().units)
    assert not any("blocks.0" in unit for unit in set(found.significant().units) - {HEADS[0]})
    units = [str(node) for node in nodes_of(net, "attn.z")]
    wanted = [units.index(head) for head in HEADS]
    assert script["shared"](found.table["effect"].to_numpy(), wanted) == 2


def test_a_third_person_takes_the_place_of_the_second_mention(script):
    row = {"text": "When A and B met, B gave C to", "object": "A", "subject": "B"}
    other = {"text": "When E and D met, D gave C to", "object": "E", "subject": "D"}
    made = script["third_person"](pd.DataFrame([row, other]))
    assert made == ["When A and B met, E gave C to", "When E and D met, A gave C to"]
    assert script["shared"](np.arange(100.0), [99, 80, 3]) == 2
