"""Names of elements: the page finds each by its own."""

import re
from collections import Counter
from importlib import resources


def test_no_two_elements_are_made_under_one_name() -> None:
    made: Counter[str] = Counter()
    for package in ("nissl.atlas.page", "nissl.web.page"):
        for file in resources.files(package).iterdir():
            if file.name.endswith((".js", ".html")):
                made.update(re.findall(r'\bid(?:: |=)"([\w-]+)"', file.read_text(encoding="utf-8")))
    assert len(made) > 50
    assert [name for name, n in made.items() if n > 1] == []
