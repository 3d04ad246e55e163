"""Run the Python blocks of the pages, while mkdocs builds; a block that fails ends the build.

The blocks of a page run one after the other in a process and an empty folder of their own. Two
comments, which no reader sees, stand before a block: `<!-- before: CODE -->` runs first, for names
that a reader would have; `<!-- not run: REASON -->` leaves it out, as `# theirs, not run` in its
first line does. Blocks with `>>>` are run, with what they print, by `tests/test_docs.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(?:^<!-- (before|not run): (.*?) -->\n+)?^```python\n(.*?)^```", re.DOTALL | re.MULTILINE
)

THEIRS = "# theirs, not run"  # code of another library


def on_pre_build(config: Any) -> None:
    """Run those of the README, which is no page."""
    run(ROOT / "README.md", (ROOT / "README.md").read_text(encoding="utf-8"))


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> None:
    """Run those of a page that somebody wrote; what was made here has been run."""
    if not page.file.generated_by:
        run(page.file.src_path, markdown)


def code(markdown: str) -> str:
    """Return what is run of a page, at the lines where it stands."""
    lines = [""] * (markdown.count("\n") + 1)
    for found in BLOCK.finditer(markdown):
        kind, said, block = found.groups()
        if kind == "not run" or ">>>" in block or THEIRS in block.split("\n", 1)[0]:
            continue
        start = markdown.count("\n", 0, found.start(3))
        lines[start : start + block.count("\n")] = block.splitlines()
        if kind == "before":
            lines[start - 1] = f"exec({said!r}, globals())"
    return "\n".join(lines)


def run(name: str | Path, markdown: str) -> None:
    """Run the blocks of a page.

    Raises
    ------
    mkdocs.exceptions.PluginError
        One of them fails; its line is that of the page.
    """
    from mkdocs.exceptions import PluginError

    only = os.environ.get("NISSL_PAGES", "").split()
    text = code(markdown)
    if not text.strip() or (only and Path(name).stem not in only):
        return
    environment = os.environ | {"MPLBACKEND": "Agg"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-c", text]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise PluginError(f"a block of {name} fails:\n{done.stderr[-2000:]}")
