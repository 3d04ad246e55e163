"""Run the scripts of `examples` and make a page of the gallery of each, while mkdocs builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples"
CONTENTS = """---
hide:
  - toc
---
# Gallery

What one does with Nissl, each in a script of `examples` that was run when these pages were built.

<div class="grid cards" markdown>
"""
CARD = """
-   [![]({picture}){{ style="height: 14rem; width: 100%; object-fit: contain" }}]({page})

    [{title}]({page})
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that the navigation names, and their pictures, to what mkdocs builds."""
    from mkdocs.structure.files import File

    contents = CONTENTS
    for page in pages(config.nav):
        text, pictures = made(EXAMPLES / f"{Path(page).stem}.py")
        title = text.split("\n", 1)[0].removeprefix("# ")
        contents += CARD.format(picture=next(iter(pictures)), page=page, title=title)
        text = "---\nhide:\n  - toc\n---\n" + text  # the pictures and the code are wide
        for name, content in {page: text, **pictures}.items():
            files.append(File.generated(config, f"gallery/{name}", content=content))
    contents += "\n</div>\n"
    files.append(File.generated(config, "gallery/index.md", content=contents))
    return files


def pages(nav: Any) -> list[str]:
    """Return the pages of the gallery by the file's name, in the order of the navigation."""
    (gallery,) = (entry["Gallery"] for entry in nav if "Gallery" in entry)
    return [Path(page).name for page in gallery if not page.endswith("index.md")]


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
    text, about = MarkdownExporter().from_notebook_node(notebook, {"unique_key": script.stem})
    return text.lstrip(), about["outputs"]


def _is_shown(output: Any) -> bool:
    """What is printed, pictures and results are; progress bars and warnings are not."""
    if output["output_type"] == "stream":
        return bool(output["name"] == "stdout")
    return output["output_type"] == "execute_result" or "image/png" in output["data"]
