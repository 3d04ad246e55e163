"""Groups of nodes of a circuit, each under a name: a file beside that of the circuit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from nissl.errors import NisslError
from nissl.json_file import write_json

__all__ = ["keep_group", "read_groups"]

FORMAT = "nissl.groups 1"
LONGEST, MOST = 80, 200  # characters of a name; groups


def read_groups(path: str | Path) -> dict[str, list[str]]:
    """Read the groups of a circuit.

    Parameters
    ----------
    path : str or Path
        The file of the circuit, ``ioi.json``; its groups are in ``ioi.groups.json``.

    Returns
    -------
    dict of str to list of str
        The addresses of the nodes of each; empty where there is no file.

    Raises
    ------
    NisslError
        The file cannot be read.

    Examples
    --------
    >>> read_groups("ioi.json")  # doctest: +SKIP
    {'name movers': ['blocks.23.attn.z[head 3]', 'blocks.24.attn.z[head 4]']}
    """
    beside = _beside(path)
    if not beside.exists():
        return {}
    try:
        held = json.loads(beside.read_text(encoding="utf-8"))
        if held["format"] != FORMAT:
            raise ValueError("it is of another format")
        return {str(name): [str(node) for node in nodes] for name, nodes in held["groups"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NisslError(
            f"the groups cannot be read: {error}", where=str(beside), do="mend or move the file"
        ) from error


def keep_group(path: str | Path, name: str, nodes: Iterable[str]) -> dict[str, list[str]]:
    """Keep nodes of a circuit as a group; none of them take it away.

    Parameters
    ----------
    path : str or Path
        The file of the circuit.
    name : str
        What the group is called; no address.
    nodes : iterable of str
        Addresses.

    Returns
    -------
    dict of str to list of str
        All groups.

    Raises
    ------
    NisslError
        It has no name, a node is in another group, or the file cannot be written.

    Examples
    --------
    >>> keep_group("ioi.json", "name movers", ["blocks.23.attn.z[head 3]"])  # doctest: +SKIP
    """
    groups, called, wanted = read_groups(path), name.strip(), list(dict.fromkeys(nodes))
    if not called or len(called) > LONGEST or "\n" in called or called in wanted:
        raise NisslError(f"'{called[:LONGEST]}' is no name of a group", do="give up to 80 letters")
    groups.pop(called, None)
    for other, held in groups.items():
        if taken := [node for node in wanted if node in held]:
            raise NisslError(f"{taken[0]} is in the group '{other}'", do="take it out there first")
    if wanted:
        groups[called] = wanted
    if len(groups) > MOST:
        raise NisslError(f"there are {MOST} groups already", where=str(_beside(path)))
    write_json(_beside(path), {"format": FORMAT, "groups": groups}, what="the groups")
    return groups


def _beside(path: str | Path) -> Path:
    return Path(path).with_suffix(".groups.json")
