"""The graph: what was planted is drawn, in its place, and reached by the keyboard alone."""

from collections.abc import Callable
from typing import Any

MARKUP = "<img src=x onerror=alert(1)>"
NODES = [
    {"name": "embed", "label": "embed", "layer": -1},
    {"name": "a", "label": "0 head 1", "layer": 0, "effect": 0.5, "group": "early"},
    {"name": "b", "label": "0 head 2", "layer": 0, "effect": 0.7, "group": "early"},
    {"name": "m", "label": MARKUP, "layer": 0.5, "effect": -0.2},
    {"name": "z", "label": "logits", "layer": 2},
]
EDGES = [
    {"from": "embed", "to": "a", "effect": 1.0},
    {"from": "embed", "to": "b", "effect": 0.5},
    {"from": "a", "to": "b", "effect": 9.0},
    {"from": "b", "to": "m", "effect": -0.75},
    {"from": "m", "to": "z", "effect": 0.1},
]
DRAW = """([nodes, edges, options]) => drawn(graph(nodes, edges,
    {...options, onopen: (box) => { window.opened = box.name; }}))"""


def test_boxes_and_edges_are_those_planted(canvas: Any, violations: Callable[[Any], str]) -> None:
    plain = [{k: v for k, v in node.items() if k != "group"} for node in NODES]
    canvas.evaluate(DRAW, [plain, EDGES, {"label": "Circuit of naming"}])
    place = {
        name: canvas.locator(".node", has_text=name).locator("rect").bounding_box()
        for name in ("embed", "0 head 1", "0 head 2", "<img", "logits")
    }
    up = [place[name]["y"] for name in ("embed", "0 head 1", "<img", "logits")]
    assert up == sorted(up, reverse=True)
    assert place["0 head 1"]["y"] == place["0 head 2"]["y"]
    assert place["0 head 1"]["x"] + place["0 head 1"]["width"] < place["0 head 2"]["x"]
    assert canvas.locator(".edge").count() == 5
    wide = [float(e.get_attribute("stroke-width")) for e in canvas.locator(".edge").all()]
    assert wide == sorted(wide, reverse=True)
    assert canvas.locator(".edge[stroke-dasharray]").count() == 1  # the one below zero
    assert canvas.locator("img").count() == 0
    assert not violations(canvas)


def test_a_group_is_one_box_and_its_edges_are_added_up(canvas: Any) -> None:
    canvas.evaluate(DRAW, [NODES, EDGES, {}])
    labels = [n.get_attribute("aria-label") for n in canvas.locator(".node").all()]
    assert labels[1] == "early (2), effect 1.2; 1 edge in, 1 edge out"
    titles = canvas.locator(".edge title").all_text_contents()
    assert titles[0] == "embed to early (2): 1.5"
    assert len(titles) == 3


def test_keys_lead_from_box_to_box_and_open_one(canvas: Any) -> None:
    canvas.evaluate(DRAW, [NODES, EDGES, {"chosen": "embed"}])
    canvas.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label').split(/[,;]/)[0]"
    assert canvas.evaluate(focused) == "embed"
    assert canvas.locator(".far").count() == 2  # of others
    canvas.keyboard.press("ArrowUp")
    assert canvas.evaluate(focused) == "early (2)"
    canvas.keyboard.press("Enter")
    assert canvas.evaluate("window.opened") == "early"
    canvas.keyboard.press("ArrowDown")
    assert canvas.evaluate(focused) == "embed"


def test_columns_stand_by_position_and_what_is_left_out_is_said(canvas: Any) -> None:
    nodes = [
        {"name": f"{i}", "label": f"n{i}", "layer": i % 3, "position": i // 3} for i in range(9)
    ]
    edges = [{"from": str(i), "to": str(j), "effect": 1 + i} for i in range(9) for j in range(i)]
    canvas.evaluate(DRAW, [nodes, edges, {"most": 10, "positions": {"0": "The", "2": "cat"}}])
    assert canvas.locator(".edge").count() == 10
    said = canvas.locator(".graph").get_attribute("aria-label")
    assert said == "Graph; the largest 10 of 36 edges are drawn"
    boxes = [canvas.locator(".node rect").nth(i).bounding_box() for i in range(9)]
    assert boxes[0]["x"] == boxes[1]["x"] < boxes[3]["x"] < boxes[6]["x"]


def test_no_node_is_an_empty_graph(canvas: Any) -> None:
    canvas.evaluate(DRAW, [[], [], {}])
    assert canvas.locator(".node").count() == 0
