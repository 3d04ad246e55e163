"""A progress bar with rate and time left, for anything that takes over two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

__all__ = ["Progress", "progress_bar", "tracked"]

T = TypeVar("T")
Progress: TypeAlias = bool | Callable[[float, float | None], None]
"""Whether a bar is shown; or what is given the amount done and the total, and shows it itself."""


@contextmanager
def progress_bar(
    description: str, *, total: float | None, unit: str = "", progress: Progress = True
) -> Iterator[Callable[[float], None]]:
    """Show a bar while the block runs; call what it yields with each amount done.

    Parameters
    ----------
    description : str
        What is being done, in the progressive: "Recording smollm2".
    total : float or None
        How much there is to do, in `unit`; None where that is not known.
    unit : str
        What is counted: "tokens", "samples", "MB".
    progress : bool or callable
        False shows nothing; a callable is given the amount done and the total after each step.

    Yields
    ------
    callable
        ``advance(amount)``.

    Examples
    --------
    >>> with progress_bar("Counting", total=3, unit="sheep", progress=False) as advance:
    ...     for _ in range(3):
    ...         advance(1)
    """
    if not progress:
        yield lambda amount: None
        return
    if callable(progress):
        tell, done = progress, 0.0

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            tell(done, total)

        yield advance
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s", style="cyan")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(description, total=total)
        yield lambda amount: bars.advance(task, amount)


def tracked(
    items: Iterable[T],
    description: str,
    *,
    total: float | None = None,
    unit: str = "",
    progress: bool = True,
) -> Iterator[T]:
    """Yield items one by one, and show a bar of how many were worked through.

    Parameters
    ----------
    items : iterable
        What the caller loops over.
    description : str
        What is being done, in the progressive.
    total : float, optional
        How many there are; by default their length, where they have one.
    unit : str
        What they are.
    progress : bool
        False shows nothing.

    Yields
    ------
    object
        Each item.

    Examples
    --------
    >>> [2 * x for x in tracked([1, 2], "Doubling", unit="numbers", progress=False)]
    [2, 4]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total=total, unit=unit, progress=progress) as advance:
        for item in items:
            yield item
            advance(1)
