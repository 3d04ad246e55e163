"""The live session of the explorer: one model, asked one question at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nissl.errors import NisslError, first_line
from nissl.web.features import feature_sites, missing_features, with_features

if TYPE_CHECKING:
    from starlette.requests import Request

    from nissl.atlas import Atlas
    from nissl.network import Network

__all__ = ["Live", "Say"]

SECONDS = 60.0  # for an answer, once its turn has come
Say: TypeAlias = Callable[[Any], None]


class Stopped(Exception):
    """Whoever asked has gone."""


class Live:
    """The network of an atlas, which one thread loads at the first question and asks in turn.

    Parameters
    ----------
    atlas : Atlas
        What was made of it.
    model : Network, str or Path, optional
        What to ask; by default the network that ``atlas.json`` names.
    dictionaries : sequence of str or Path
        Files of features, beside those that ``atlas.json`` names.

    Attributes
    ----------
    note : str
        What is to be known of the answers: that the weights are not those of the atlas, or that
        features of the atlas are missing.

    Examples
    --------
    >>> Live(open_atlas("out/smollm2")).missing  # doctest: +SKIP
    ''
    """

    def __init__(
        self, atlas: Atlas, model: Any = None, dictionaries: Sequence[str | Path] = ()
    ) -> None:
        self.atlas, self.dictionaries = atlas, dictionaries
        self.note = missing_features(atlas, dictionaries)
        self.given = atlas.about.get("network", "") if model is None else model
        self.chosen = model is not None
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="live")

    @property
    def missing(self) -> str:
        """Why nothing can be asked, as far as it is known without loading; empty where it can."""
        if not self.atlas.about.get("network"):
            return "This atlas is of a recording: there is no network to ask."
        if not (self.atlas.about.get("tokenizer") or self.chosen):
            return "This atlas is of a network that reads no text."
        return ""

    @property
    def name(self) -> str:
        """What the model is called."""
        return str(getattr(self.given, "name", self.given))

    @cached_property
    def net(self) -> Network:
        """The model, loaded when it is first asked for; an error is asked for again."""
        from nissl.network import load

        if self.missing:
            raise NisslError(self.missing)
        about, given = self.atlas.about, self.given
        try:
            net: Network = given
            if isinstance(given, (str, Path)):
                if not self.chosen:
                    _require_cached(str(given))
                dtype = about.get("weights_dtype", "float32")
                net = load(given, dtype=dtype, progress=False)
            net.require_tokenizer()
            features = feature_sites(about)
            net.find([s.rpartition(".")[0] if s in features else s for s in about["sites"]])
            net, self.note = with_features(net, self.atlas, self.dictionaries)
        except NisslError as error:
            other = "`nissl view ATLAS --model NAME` takes another name or a folder"
            raise NisslError(
                f"the model of this atlas cannot be asked: {error.what}",
                where=error.where or self.name,
                do=f"{error.do}; {other}" if error.do else other,
            ) from error
        if net.weights_hash != about.get("weights"):
            self.note += " The weights are not those that the atlas was made of."
        return net

    async def answers(
        self, request: Request, work: Callable[[Network, Say], None]
    ) -> AsyncGenerator[Any]:
        """Do work on the model when its turn comes, and hand on what it says.

        Parameters
        ----------
        request : Request
            When its client goes, the work is given up.
        work : callable
            Is given the network, and a function to say answers with, which raises where nobody
            listens any more or the time is over.

        Yields
        ------
        object
            Each answer.

        Raises
        ------
        NisslError
            The model or the work failed, or took too long.
        """
        loop, gone = asyncio.get_running_loop(), threading.Event()
        said: asyncio.Queue[Any] = asyncio.Queue()

        def tell(answer: Any) -> None:
            loop.call_soon_threadsafe(said.put_nowait, answer)

        def job() -> None:
            try:
                net, began = self.net, time.monotonic()

                def say(answer: Any) -> None:
                    if gone.is_set():
                        raise Stopped
                    if time.monotonic() > began + SECONDS:
                        raise NisslError(f"stopped after {SECONDS:.0f} seconds", do="ask for less")
                    tell(answer)

                if not gone.is_set():
                    work(net, say)
            except Stopped:
                return
            except NisslError as error:
                tell(error)
            except Exception as error:  # of the model: its client must not wait for ever
                tell(NisslError(f"the model failed: {type(error).__name__}: {first_line(error)}"))
            tell(None)

        future = self.worker.submit(job)
        try:
            while True:
                try:
                    answer = await asyncio.wait_for(said.get(), 0.2)
                except TimeoutError:
                    if await request.is_disconnected():
                        return
                    continue
                if answer is None:
                    return
                if isinstance(answer, NisslError):
                    raise answer
                yield answer
        finally:
            gone.set()
            future.cancel()


def _require_cached(name: str) -> None:
    """Refuse a specimen that would have to be fetched: a question is not the time for it."""
    from nissl.specimens import specimens

    known = specimens()
    if ((known["name"] == name) & ~known["cached"].astype(bool)).any():
        raise NisslError(f"{name} is no longer in the cache", do=f"`nissl fetch {name}`")
