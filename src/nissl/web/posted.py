"""The JSON of the explorer: what a page posts, checked, and what it is answered line by line."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from nissl.errors import NisslError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["body_of", "streamed", "text_of", "told", "whole_of"]

CHARACTERS = 20_000  # of a text


async def body_of(request: Request) -> Mapping[str, Any]:
    """Return what was posted.

    Parameters
    ----------
    request : Request
        Whose body is JSON.

    Returns
    -------
    dict
        Its fields.

    Raises
    ------
    NisslError
        It is no JSON, or no object.
    """
    try:
        body = await request.json()
        json.dumps(body, ensure_ascii=False).encode()  # half a character can be kept by no file
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise NisslError("the question is not JSON")
    return body


def text_of(body: Mapping[str, Any], name: str) -> str:
    """Return a text that was posted.

    Parameters
    ----------
    body : mapping
        What was posted.
    name : str
        Of the field.

    Returns
    -------
    str
        At most 20,000 characters.

    Raises
    ------
    NisslError
        There is none, or it is longer.
    """
    text = body.get(name)
    if not isinstance(text, str) or not text.strip():
        raise NisslError("there is no text", where=name, do="write some")
    if len(text) > CHARACTERS:
        raise NisslError(
            f"the text has {len(text):,} characters", where=name, do=f"give at most {CHARACTERS:,}"
        )
    return text


def whole_of(body: Mapping[str, Any], name: str, default: int) -> int:
    """Return a whole number that was posted.

    Parameters
    ----------
    body : mapping
        What was posted.
    name : str
        Of the field.
    default : int
        Where there is none.

    Returns
    -------
    int
        The number.

    Raises
    ------
    NisslError
        It is no whole number.
    """
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NisslError(f"{str(value)[:40]} is no whole number", where=name)
    return value


async def streamed(answers: AsyncGenerator[Any]) -> Response:
    """Answer line by line, as the answers come; an error before the first is answered as one.

    Parameters
    ----------
    answers : async generator
        What `Live.answers` yields.

    Returns
    -------
    Response
        JSON, an answer a line; an error that comes later is the last.
    """
    from starlette.responses import StreamingResponse

    first: Any = await anext(answers, {})
    return StreamingResponse(_lines(first, answers), media_type="application/x-ndjson")


def told(error: NisslError) -> str:
    """Return an error as the page says it; what it quotes may be long.

    Parameters
    ----------
    error : NisslError
        The error.

    Returns
    -------
    str
        At most some 1,600 characters.

    Examples
    --------
    >>> len(told(NisslError("x" * 100_000)))
    1603
    """
    text = str(error)
    return text if len(text) <= 1600 else f"{text[:1000]} … {text[-600:]}"


async def _lines(first: Any, answers: AsyncGenerator[Any]) -> AsyncGenerator[str]:
    """Yield answers as lines of JSON, an error as the last."""
    async with aclosing(answers):
        yield json.dumps(first) + "\n"
        try:
            async for answer in answers:
                yield json.dumps(answer) + "\n"
        except NisslError as error:
            yield json.dumps({"error": told(error)}) + "\n"
