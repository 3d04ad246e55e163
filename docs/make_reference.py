"""Make the reference, a page of every public name for each package, while mkdocs builds."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import nissl

SOURCE = Path(nissl.__file__).parent
# What is public beside what packages export: modules that have no folder.
MODULES = ("nissl.methods", "nissl.claims", "nissl.errors", "nissl.statistics.figure")
ENTRY = """
::: {address}
    options:
      heading: {name}
      heading_level: 2
      toc_label: {name}
"""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to what mkdocs builds."""
    from mkdocs.structure.files import File

    for package in packages():
        files.append(File.generated(config, f"reference/{package}.md", content=page(package)))
    return files


def on_config(config: Any) -> Any:
    """Put the pages into the navigation."""
    config.nav.append({"Reference": [{p: f"reference/{p}.md"} for p in packages()]})
    return config


def packages() -> list[str]:
    """Return the packages that export names, and the public modules beside them."""
    stubs = sorted(SOURCE.rglob("__init__.pyi"))
    return [".".join(("nissl", *s.parent.relative_to(SOURCE).parts)) for s in stubs] + [*MODULES]


def names(package: str) -> dict[str, str]:
    """Return the public names of a package, and the address at which each is defined."""
    stub = SOURCE.joinpath(*package.split(".")[1:], "__init__.pyi")
    if not stub.is_file():
        return {name: f"{package}.{name}" for name in importlib.import_module(package).__all__}
    found = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module}" if node.module else package
            for alias in node.names:
                name = alias.asname or alias.name
                found[name] = f"{module}.{alias.name}"
    found.pop("__version__", None)
    return found


def page(package: str) -> str:
    """Return a page: what the package is for, a line for each name, and all about each."""
    module = importlib.import_module(package)
    lines = [f"# {package}", "", inspect.getdoc(module) or "", "", "| name | |", "|---|---|"]
    entries = []
    for name, address in names(package).items():
        thing = getattr(module, name)
        about = inspect.getdoc(thing) if callable(thing) or inspect.ismodule(thing) else ""
        first = (about or "").split("\n", 1)[0].replace("|", "\\|")
        if inspect.ismodule(thing):
            lines.append(f"| [`{name}`]({package}.{name}.md) | {first} |")
            continue
        address = _defined(address)
        lines.append(f"| [`{name}`][{address}] | {first} |")
        if package != "nissl":  # where names of the packages stand again
            entries.append(ENTRY.format(address=address, name=name))
    return "\n".join(lines) + "\n" + "".join(entries)


def _defined(address: str) -> str:
    """Return where a name is defined, behind the packages that export it."""
    package, name = address.rsplit(".", 1)
    stub = SOURCE.joinpath(*package.split(".")[1:], "__init__.pyi")
    return _defined(names(package)[name]) if stub.is_file() else address
