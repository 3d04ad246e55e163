"""No circle of files; imports inside functions, for types and through stubs are counted."""

import ast
from collections.abc import Iterator
from pathlib import Path

import nissl

SOURCE = Path(nissl.__file__).parent


def module_of(path: Path, root: Path) -> str:
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def promised(stub: Path, package: str) -> dict[str, str]:
    """Where the names that a package exports lie."""
    found = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[f"{package}.{alias.asname or alias.name}"] = f"{package}.{node.module}"
    return found


def imported(path: Path, module: str) -> Iterator[tuple[str, str]]:
    """What a file imports anywhere, as module and name."""
    package = module.split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((base, alias.name) for alias in node.names)


def graph_of(root: Path) -> dict[str, set[str]]:
    files = {module_of(path, root): path for path in root.rglob("*.py")}
    exports: dict[str, str] = {}
    for stub in root.rglob("__init__.pyi"):
        exports |= promised(stub, module_of(stub, root))
    graph: dict[str, set[str]] = {module: set() for module in files}
    for module, path in files.items():
        for base, name in imported(path, module):
            whole = f"{base}.{name}"
            target = whole if whole in files else exports.get(whole, base)
            if target in files and target != module:
                graph[module].add(target)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Modules left when those that import no module left are taken away again and again."""
    left = {module: set(targets) for module, targets in graph.items()}
    while free := [module for module, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    return [[module, *sorted(targets & left.keys())] for module, targets in sorted(left.items())]


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circles(graph_of(SOURCE)) == []


def test_a_circle_is_seen_in_functions_types_and_exports(tmp_path: Path) -> None:
    house = tmp_path / "house"
    (house / "room").mkdir(parents=True)
    (house / "__init__.py").write_text("")
    (house / "room" / "__init__.py").write_text("")
    (house / "room" / "__init__.pyi").write_text("from .a import thing as thing\n")
    (house / "room" / "a.py").write_text("def f():\n    from house import b\n")
    (house / "b.py").write_text("if TYPE_CHECKING:\n    from .c import x\n")
    (house / "c.py").write_text("from house.room import thing\n")
    found = circles(graph_of(house))
    assert {row[0] for row in found} == {"house.room.a", "house.b", "house.c"}
