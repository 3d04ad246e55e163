"""The main job: look at every unit of a network or a brain, and keep what each one is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.atlas.images import image_files, labelled, some_images
from nissl.atlas.reader import Atlas, open_atlas
from nissl.errors import NisslError, UnknownName
from nissl.recording import Recording
from nissl.recording.store._lock import Lock

if TYPE_CHECKING:
    from nissl.network import Network

__all__ = ["make_atlas"]

PLANNED = ("window", "n_tokens", "batch_size")  # options of `nissl.network.plan_of`


def make_atlas(
    source: str | Path | Network | Recording,
    inputs: Any = None,
    *,
    out: str | Path,
    device: str | None = None,
    dtype: str = "auto",
    progress: bool = True,
    **options: Any,
) -> Atlas:
    """Look at every unit of a network or a recording, and make tables and a page of it.

    Stopped with Ctrl-C, the same call goes on where it was.

    Parameters
    ----------
    source : Network, Recording, str or Path
        A network or a recording; or the name or path of one, as `nissl.network.load` and
        `nissl.specimens.read` take it.
    inputs : texts, token ids, images, tensor, or DataFrame, optional
        What a network reads. A DataFrame has its texts in ``text``; a column ``language`` labels
        the documents. Fewer than twenty texts are cut into documents of some 2,000 characters where
        they are longer, since preferences are tested over documents. Images are a float tensor
        (n, channels, rows, columns), what the network's image transform takes, files, or a folder,
        whose subfolders are then their labels.
    out : path
        The folder, made if it is missing.
    device, dtype : str, optional
        Where and as what a network is loaded by name; by default as bfloat16 where the processor
        multiplies that much faster than float32. A Network stays as it is.
    progress : bool
        Show bars, and the type that was chosen.
    **options
        Of a network: ``labels`` of images, one for each, or several by name; ``n_images``, how
        many to read, spread evenly over all that are given; ``window``, ``n_tokens`` (how much of
        a text is read) and ``batch_size`` as in `nissl.network.plan_of`; and the options of
        `nissl.atlas.network_atlas`, such as ``sites``. Of a recording: those of
        `nissl.atlas.recording_atlas`, such as ``labels``. Of both: ``test``, whose seed is that of
        everything random.

    Returns
    -------
    Atlas
        Opened.

    Raises
    ------
    UnknownName
        There is no such option.
    NisslError
        There is nothing to read; the source is not known; the folder cannot be written, or holds an
        unfinished atlas of something else.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.random.default_rng(0).standard_normal((30, 2)),
    ...                    samples={"trial": range(30), "side": np.tile(["left", "right"], 15)})
    >>> with TemporaryDirectory() as out:
    ...     atlas = make_atlas(rec, out=out, progress=False)
    ...     atlas.units["kind"].tolist()
    ['unexplained', 'unexplained']
    """
    from nissl.atlas.network_atlas import network_atlas
    from nissl.atlas.page.write import write_page
    from nissl.atlas.recording_atlas import recording_atlas

    opened: Any = source
    if isinstance(source, (str, Path)):
        opened = _open(source, device=device, dtype=dtype, progress=progress)
    if isinstance(opened, Recording):
        if isinstance(source, (str, Path)):
            opened = opened.assign_attrs(name=str(source))
        if inputs is not None:
            raise NisslError("a recording reads nothing", do="give inputs to a network alone")
        _check(options, recording_atlas)
        with _only_writer(Path(out)):
            recording_atlas(opened, out, progress=progress, **options)
            write_page(out)
    else:
        from nissl.atlas.documents import cut_documents
        from nissl.network import plan_of

        if inputs is None:
            raise NisslError(
                "there is nothing for the network to read",
                do="give texts, or --text: a file, a folder or a specimen such as reader",
            )
        _check(options, network_atlas, "labels", "n_images", *PLANNED)
        planned = {name: options.pop(name) for name in PLANNED if name in options}
        labels, plan = options.pop("labels", None), image_files(opened, inputs)
        if "n_images" in options:
            plan = some_images(plan, options.pop("n_images"))
        if planned or labels is not None:
            plan = plan_of(opened, cut_documents(plan)[0], **planned)
        plan = plan if labels is None else labelled(plan, labels)
        with _only_writer(Path(out)):
            network_atlas(opened, plan, out, progress=progress, **options)
            write_page(out)
    return open_atlas(out)


@contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    """Lock the folder, so that no two atlases are written into it at once."""
    from nissl.atlas.network_atlas import make_folder

    make_folder(out)
    lock = Lock(out / "atlas.lock", what="atlas", where=out)
    try:
        yield
    finally:
        lock.release()


def _check(options: dict[str, Any], function: Any, *more: str) -> None:
    known = [*list(inspect.signature(function).parameters)[2:], *more]
    for option in options:
        if option not in known:
            raise UnknownName("option", option, known, do=f"there are {', '.join(known)}")


def _open(source: str | Path, *, device: str | None, dtype: str, progress: bool) -> Any:
    """Return the Network or Recording of a name or path."""
    if not _is_recording(source):
        from nissl.network import load

        return load(source, device=device, dtype=dtype, progress=progress)
    from nissl.specimens import read

    found = read(source)
    if isinstance(found, dict):
        raise NisslError(
            f"this store holds {len(found)} recordings whose samples differ",
            where=str(source),
            do=f"open it and give one: nissl.read(...)['{next(iter(found))}']",
        )
    return found


def _is_recording(source: str | Path) -> bool:
    """Tell a recording from a network by its name or by what lies there."""
    path = Path(source).expanduser()
    if path.is_dir():
        return not (path / "config.json").exists()
    if path.is_file():
        return path.suffix.lower() != ".gguf"
    from nissl.specimens import specimens

    known = specimens()
    return bool(((known["name"] == str(source)) & (known["kind"] == "recording")).any())
