"""The main job: look at every unit of a network or a brain, and keep what each one is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nissl.atlas.reader import Atlas, open_atlas
from nissl.errors import NisslError
from nissl.recording import Recording
from nissl.statistics import Test

if TYPE_CHECKING:
    from nissl.network import Network
    from nissl.network.dictionary import Dictionary

__all__ = ["make_atlas"]


def make_atlas(
    source: str | Path | Network | Recording,
    inputs: Any = None,
    *,
    out: str | Path,
    text: str | Sequence[str] | None = None,
    sites: str | Sequence[str] = "mlp.neurons",
    dictionary: Dictionary | None = None,
    labels: Sequence[str] | None = None,
    exchange: str | Sequence[str] | None = None,
    test: Test = Test(),
    top: int = 20,
    window: int | None = None,
    n_tokens: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
    resume: bool = True,
    progress: bool = True,
) -> Atlas:
    """Look at every unit of a network or a recording, and make tables and a page of it.

    Parameters
    ----------
    source : Network, Recording, str or Path
        A network or a recording; or the name or path of one, as `nissl.network.load` and
        `nissl.specimens.read` take it.
    inputs : texts, token ids, images, tensor, or DataFrame, optional
        What a network reads. A DataFrame has its texts in ``text``; a column ``language`` labels
        the documents.
    out : path
        The folder, made if it is missing.
    text : str or sequence of str, optional
        Instead of `inputs`: files, folders or specimens of text, by name.
    sites : str or sequence of str
        Sites of a network.
    dictionary : Dictionary, optional
        Look at its features instead.
    labels, exchange
        For a recording, as for `nissl.atlas.tuning`.
    test : Test
        Of a recording, as for `nissl.atlas.tuning`; of a network, draws and seed. The seed is that
        of everything random.
    top : int
        Extremes kept of each unit, at each end.
    window : int, optional
        Tokens of a window of a long text.
    n_tokens : int, optional
        How much of a text is read, to the end of a window; by default all of it.
    batch_size : int, optional
        Windows or items in one pass.
    device, dtype : str, optional
        Where and as what a network is loaded.
    resume : bool
        Go on where an earlier run was stopped; False begins anew.
    progress : bool
        Show bars.

    Returns
    -------
    Atlas
        Opened.

    Raises
    ------
    NisslError
        There is nothing to read; the source is not known; the folder cannot be written, or holds an
        unfinished atlas of something else.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from nissl.recording import as_recording
    >>> rec = as_recording(np.random.default_rng(0).standard_normal((30, 2)),
    ...                 samples={"trial": range(30), "side": np.tile(["left", "right"], 15)})
    >>> with TemporaryDirectory() as out:
    ...     made = make_atlas(rec, out=out, progress=False)
    ...     made.units["kind"].tolist()
    ['unexplained', 'unexplained']
    """
    from nissl.atlas.page import write_page
    from nissl.atlas.recording_atlas import recording_atlas

    out = Path(out)
    opened = _opened(source, device=device, dtype=dtype, progress=progress)
    if isinstance(opened, Recording):
        name = source if isinstance(source, str) else None
        recording_atlas(
            opened,
            out,
            name=name,
            labels=labels,
            exchange=exchange,
            test=test,
            n_examples=top,
            batch_size=batch_size,
            resume=resume,
            progress=progress,
        )
    else:
        from nissl.atlas.network_atlas import network_atlas

        names = [text] if isinstance(text, str) else list(text or ())
        if dictionary is not None:
            opened = opened.with_dictionary(dictionary)
            sites = f"{opened.find(dictionary.site_in)[0].name}.{dictionary.name}"
        network_atlas(
            opened,
            _inputs(inputs, names),
            out,
            sites=sites if isinstance(sites, str) else list(sites),
            name=", ".join(names),
            top=top,
            batch_size=batch_size,
            window=window,
            n_tokens=n_tokens,
            test=test,
            resume=resume,
            progress=progress,
        )
    write_page(out)
    return open_atlas(out)


def _opened(source: Any, *, device: str | None, dtype: str | None, progress: bool) -> Any:
    """Return the Network or Recording that is meant."""
    if not isinstance(source, (str, Path)):
        return source
    if _is_recording(source):
        from nissl.specimens import read

        opened = read(source)
        if isinstance(opened, dict):
            raise NisslError(
                f"this store holds {len(opened)} recordings whose samples differ",
                where=str(source),
                do=f"open it and give one: nissl.read(...)['{next(iter(opened))}']",
            )
        return opened
    from nissl.network import load

    options: dict[str, Any] = {
        k: v for k, v in {"device": device, "dtype": dtype}.items() if v is not None
    }
    return load(source, progress=progress, **options)


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


def _inputs(inputs: Any, names: Sequence[str]) -> Any:
    """Return what a network reads, from texts by name where they are given so."""
    if inputs is not None and not names:
        return inputs
    if inputs is not None or not names:
        raise NisslError(
            "there is nothing for the network to read"
            if inputs is None
            else "texts were given twice, as `inputs` and by name",
            do="give texts, or text= (--text): a file, a folder or a specimen such as reader",
        )
    import pandas as pd

    from nissl.specimens import load, read_texts

    read = [read_texts(n) if Path(n).expanduser().exists() else load(n) for n in names]
    if len(read) == 1:
        return read[0]
    for name, table in zip(names, read, strict=True):
        if "text" not in getattr(table, "columns", ()):
            raise NisslError(
                "only texts can be read one after another", where=name, do="give it alone"
            )
    return pd.concat(read, ignore_index=True)
