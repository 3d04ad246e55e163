"""Run the scripts of `examples` and make a page of each, while mkdocs builds.

A page of a room ends with the scripts that use the room, and with what its claims came to.

`NISSL_PAGES="logit_lens own_model" mkdocs build` runs those alone; the other pages are empty then.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
FOLDERS = {"gallery": EXAMPLES, "tutorials": EXAMPLES / "tutorials"}
CONTENTS = """---
hide:
  - toc
---
# Gallery

What one does with Nissl, each in a script of `examples` that was run when these pages were built.
"""
STYLE = "height: 12rem; width: 100%; object-fit: contain"
CARD = """
-   [![{alt}]({picture}){{ style="{style}" loading=lazy }}]({page})

    [**{title}**]({page})<br>{caption}
"""

PICTURES: dict[str, str] = {}  # the first of each page, by the page's address


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that the navigation names, and their pictures, to what mkdocs builds."""
    from mkdocs.structure.files import File

    only = os.environ.get("NISSL_PAGES", "").split()
    for page in pages(config.nav):
        script = script_of(page)
        folder, name = page.removesuffix(".md").split("/")
        text, pictures = made(script) if not only or name in only else ("", {})
        text = text or f"# {about(script)[0]}"
        if folder == "gallery":
            text = "---\nhide:\n  - toc\n---\n" + text  # the pictures and the code are wide
        PICTURES[page] = f"{folder}/{next(iter(pictures))}" if pictures else "atlas.png"
        for file, content in {f"{name}.md": text, **pictures}.items():
            files.append(File.generated(config, f"{folder}/{file}", content=content))
    gallery = [page for page in PICTURES if page.startswith("gallery/")]
    contents = CONTENTS + cards(gallery, root="../")
    files.append(File.generated(config, "gallery/index.md", content=contents))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Add to a page of a room the scripts that use it, and what its claims came to."""
    room = page.file.src_uri.removesuffix(".md")
    if not (ROOT / "replications" / room).is_dir():
        return markdown
    used = re.compile(rf"\bnissl\.{room}\b|from nissl import .*\b{room}\b")
    using = [name for name in PICTURES if used.search(script_of(name).read_text("utf-8"))]
    claims = (ROOT / "claims" / room).glob("*.json")
    verdicts = Counter(json.loads(claim.read_text("utf-8"))["verdict"] for claim in claims)
    if using:
        markdown += f"\n## In pictures\n{cards(using)}"
    if verdicts:
        told = "{holds} hold, {fails} fail, {inconclusive} are inconclusive".format_map(verdicts)
        link = f"[each with its figures](claims.md#{room})"
        markdown += f"\n## Claims\n\nWhat papers say, put to the test: {told} ({link}).\n"
    return markdown


def script_of(page: str) -> Path:
    """Return the script that a page is made of."""
    folder, name = page.removesuffix(".md").split("/")
    return FOLDERS[folder] / f"{name}.py"


def cards(names: list[str], *, root: str = "") -> str:
    """Return pages as cards, each with its first picture; `root` leads to their folders."""
    told = ""
    for page in names:
        title, caption = about(script_of(page))
        told += CARD.format(
            alt=f"A picture from {title}",
            style=STYLE,
            picture=root + PICTURES[page],
            page=root + page,
            title=title,
            caption=caption,
        )
    return f'\n<div class="grid cards" markdown>\n{told}\n</div>\n'


def pages(nav: Any) -> Iterator[str]:
    """Yield the pages of the navigation that are scripts, in its order."""
    if isinstance(nav, str):
        if nav.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and "/index." not in nav:
            yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages(entry)


def about(script: Path) -> tuple[str, str]:
    """Return a script's title, and the caption that its first line gives it."""
    first, title = script.read_text(encoding="utf-8").split("\n", 2)[:2]
    caption = re.fullmatch(r'# %% \[markdown\] caption="(.+)"', first)
    return title.removeprefix("# # "), caption[1] if caption else ""


def made(script: Path) -> tuple[str, dict[str, bytes]]:
    """Run a script; return its page in Markdown, and the pictures by their file's name."""
    import jupytext
    from nbclient import NotebookClient
    from nbconvert import MarkdownExporter
    from traitlets.config import Config

    notebook = jupytext.read(script, fmt="py:percent")
    options = {"timeout": 600, "kernel_name": "python3", "coalesce_streams": True}
    config = Config({"KernelManager": {"transport": "ipc"}})  # no port is opened
    NotebookClient(notebook, config=config, **options).execute()  # an error ends the build
    for cell in notebook.cells:
        cell["outputs"] = [output for output in cell.get("outputs", []) if _is_shown(output)]
    text, shown = MarkdownExporter().from_notebook_node(notebook, {"unique_key": script.stem})
    words = [cell.metadata.get("alt", "") for cell in notebook.cells]
    return _with_alternatives(text.lstrip(), words, about(script)[0]), shown["outputs"]


def _is_shown(output: Any) -> bool:
    """What is printed, pictures and results are; progress bars and warnings are not."""
    if output["output_type"] == "stream":
        return bool(output["name"] == "stdout")
    return output["output_type"] == "execute_result" or "image/png" in output["data"]


def _with_alternatives(text: str, words: list[str], title: str) -> str:
    """Say what each picture shows: in the words of its cell, which its file's name counts."""

    def named(found: re.Match[str]) -> str:
        said = words[int(found[2])] or f"A picture of {title}, described in the text above it"
        return f"![{said}]({found[1]})"

    return re.sub(r"!\[png\]\((\w+?_(\d+)_\d+\.png)\)", named, text)
