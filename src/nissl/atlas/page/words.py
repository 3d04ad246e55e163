"""The text around the places of a unit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nissl.atlas.damage import note, part
from nissl.atlas.vocabulary import BYTES, joined_tokens

__all__ = ["Strings", "Words", "arrays_of", "rounded"]


class Strings:
    """Texts kept once each, by number; number 0 is the empty text.

    Examples
    --------
    >>> strings = Strings()
    >>> strings.number("Paris"), strings.number("Paris"), strings.texts
    (1, 1, ['', 'Paris'])
    """

    def __init__(self) -> None:
        self.texts: list[str] = [""]
        self._numbers: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        """Return the number of a text, a new one where it is new.

        Parameters
        ----------
        text : str
            The text.

        Returns
        -------
        int
            Its place in `texts`.

        Examples
        --------
        >>> Strings().number("a")
        1
        """
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]


class Words:
    """The text around a sample, from the sample arrays and the vocabulary.

    Parameters
    ----------
    folder : Path
        The atlas.
    strings : Strings
        Where texts of tokens are kept; it grows.
    before, after : int
        Tokens of context.
    broken : list of str, or None
        Where it is noted what cannot be read; None for an error instead.

    Examples
    --------
    >>> Words(Path("out/smollm2"), Strings(), 24, 10, None)  # doctest: +SKIP
    """

    def __init__(
        self, folder: Path, strings: Strings, before: int, after: int, broken: list[str] | None
    ) -> None:
        self.before, self.after = before, after
        self.strings, self.broken = strings, broken
        vocabulary = folder / "vocabulary.json"
        self.tokens = part(broken, folder / "arrays.zarr", lambda: _tokens(folder), None)
        self.texts = part(broken, vocabulary, lambda: _texts(vocabulary), {})
        if self.tokens is not None and not vocabulary.exists():
            note(broken, "vocabulary.json is missing, in which the texts are")
        self.tokens = self.tokens if self.texts else None

    def context(self, example: Mapping[Any, Any], top: float) -> dict[str, Any]:
        """Return one example.

        Parameters
        ----------
        example : mapping
            A row of ``examples.parquet``.
        top : float
            The strongest activity of its unit and sign.

        Returns
        -------
        dict
            Value, place, and where there is a text its tokens, with activity in 127ths of `top`.
        """
        at, start, stop = (int(example[name]) for name in ("sample", "start", "stop"))
        first, last = max(start, at - self.before), min(stop, at + self.after + 1)
        made: dict[str, Any] = {"v": rounded(example["value"]), "i": at, "at": at - first}
        if self._is_told(at, int(example["token"])):
            ids = self.tokens[first:last]
            made |= {"d": int(example["document"]), "p": int(example["position"])}
            words = joined_tokens([self.texts.get(int(t), f"[{t}]") for t in ids], at - first)
            words = _whole(words, at - first)
            made["t"] = [self.strings.number(word) for word in words]
        activity = np.asarray(example["activity"], dtype=float)
        if "t" in made and len(activity) == stop - start:
            part = activity[first - start : last - start] / top
            part[np.isnan(part)] = 0.0
            made["a"] = np.clip(np.rint(part * 127), -127, 127).astype(int).tolist()
        return made

    def _is_told(self, at: int, token: int) -> bool:
        """Whether the text around a sample is there, and is the one that was read."""
        if self.tokens is None or token < 0:
            return False
        same = at < len(self.tokens) and int(self.tokens[at]) == token
        if not same:  # zarr reads a file that is missing as zeros
            note(self.broken, "the texts in arrays.zarr are not those of examples.parquet")
        return same


def _tokens(folder: Path) -> Any:
    """Return the token of every sample; None where nothing was read."""
    arrays = arrays_of(folder)
    return np.asarray(arrays["token"]) if arrays is not None and "token" in arrays else None


def _texts(vocabulary: Path) -> dict[int, str]:
    if not vocabulary.exists():
        return {}
    texts = json.loads(vocabulary.read_text(encoding="utf-8"))
    return {int(number): str(text) for number, text in texts.items()}


def _whole(words: list[str], at: int) -> list[str]:
    """Leave out bytes at either end, of characters that lie beyond; what is looked at is kept."""
    cut = [i != at and bool(BYTES.fullmatch(word) or not word) for i, word in enumerate(words)]
    first, last = cut.index(False), len(cut) - cut[::-1].index(False)
    return [word if first <= i < last else "" for i, word in enumerate(words)]


def arrays_of(folder: Path) -> Any:
    """Open the arrays of an atlas.

    Parameters
    ----------
    folder : Path
        The atlas.

    Returns
    -------
    zarr.Group or None
        None where there are none.

    Examples
    --------
    >>> arrays_of(Path("nowhere"))
    """
    import zarr

    path = folder / "arrays.zarr"
    return zarr.open_group(path, mode="r") if path.exists() else None


def rounded(value: Any) -> float | None:
    """Return a number to four digits.

    Parameters
    ----------
    value : number
        The number.

    Returns
    -------
    float or None
        None where it is not finite.

    Examples
    --------
    >>> rounded(0.123456), rounded(float("nan"))
    (0.1235, None)
    """
    return float(f"{float(value):.4g}") if np.isfinite(value) else None
