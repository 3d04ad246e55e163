"""Bring a source archive through pip's own session and index, without running its build.

``pip download`` runs the build of a source archive to read its metadata. This asks pip for the link
and reads the bytes. It runs as a script in a process of its own, because pip's inside is no
interface: if pip changes, one fetch fails, with a message, and nothing else.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

__all__ = ["main"]


def main(package: str, file: str, folder: str) -> int:
    """Write the archive into a folder, saying how much has arrived as pip's raw progress does.

    Parameters
    ----------
    package : str
        The package's name.
    file : str
        The archive's file name.
    folder : str
        Where to.

    Returns
    -------
    int
        The exit status: 0, or 1 where no index has the archive.

    Examples
    --------
    >>> main("pynapple", "pynapple-0.11.4.tar.gz", "recordings")  # doctest: +SKIP
    0
    """
    from pip._internal.commands import create_command

    command = create_command("download")
    # A network that is not there is told of in warnings about retries, and nowhere else.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    options, _ = command.parse_args(["--no-deps", "--no-cache-dir", "--retries", "2", package])
    with command.main_context():
        session = command.get_default_session(options)  # type: ignore[attr-defined]
        finder = command._build_package_finder(  # type: ignore[attr-defined]
            options=options, session=session, ignore_requires_python=True
        )
        links = {found.link.filename: found.link for found in finder.find_all_candidates(package)}
        if file not in links:
            print(f"no index of pip's has {file}", file=sys.stderr)
            return 1
        # Identity: pip's registries must not unpack or repack what is pinned by its bytes.
        answer = session.get(
            links[file].url_without_fragment,
            stream=True,
            headers={"Accept-Encoding": "identity"},
        )
        answer.raise_for_status()
        total = int(answer.headers.get("Content-Length") or 0)
        arrived = 0
        with (Path(folder) / file).open("wb") as out:
            for piece in answer.iter_content(1 << 20):
                out.write(piece)
                arrived += len(piece)
                print(f"Progress {arrived} of {total}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
