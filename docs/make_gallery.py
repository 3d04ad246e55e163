"""Run the scripts of `examples` and make a page of each, while mkdocs builds.

`NISSL_PAGES="logit_lens own_model" mkdocs build` runs those alone; the other pages are empty then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDERS = {"gallery": EXAMPLES, "tutorials": EXAMPLES / "tutorials"}
CONTENTS = """---
hide:
  - toc
---
# Gallery

What one does with Nissl, each in a script of `examples` that was run when these pages were built.

<div class="grid cards" markdown>
"""
STYLE = "height: 12rem; width: 100%; object-fit: contain"
CARD = """
-   [![{alt}]({picture}){{ style="{style}" loading=lazy }}]({page})

    [**{title}**]({page})<br>{caption}
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that the navigation names, and their pictures, to what mkdocs builds."""
    from mkdocs.structure.files import File

    contents, only = CONTENTS, os.environ.get("NISSL_PAGES", "").split()
    for page in pages(config.nav):
        folder, name = page.removesuffix(".md").split("/")
        script = FOLDERS[folder] / f"{name}.py"
        title, caption = about(script)
        text, pictures = made(script) if not only or name in only else (f"# {title}", {})
        if folder == "gallery":
            text = "---\nhide:\n  - toc\n---\n" + text  # the pictures and the code are wide
            contents += CARD.format(
                alt=f"A picture from {title}",
                style=STYLE,
                picture=next(iter(pictures), "../atlas.png"),
                page=f"{name}.md",
                title=title,
                caption=caption,
            )
        for file, content in {f"{name}.md": text, **pictures}.items():
            files.append(File.generated(config, f"{folder}/{file}", content=content))
    contents += "\n</div>\n"
    files.append(File.generated(config, "gallery/index.md", content=contents))
    return files


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
