"""Twenty clients of the explorer at once, who do what a person does."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

__all__ = ["Load", "load", "resident"]


@dataclass
class Load:
    """What came of it.

    Parameters
    ----------
    answered : Counter
        Answers by what was asked.
    errors : list of str
        What was not answered as it should be.
    """

    answered: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def load(
    address: str,
    *,
    seconds: float,
    units: Sequence[str],
    texts: Sequence[str] = (),
    words: Sequence[str] = (),
    clients: int = 20,
) -> Load:
    """Let clients ask for some time: lists, units, words, notes, and live texts and edits.

    Parameters
    ----------
    address : str
        Of the explorer, with its token.
    seconds : float
        For how long.
    units : sequence of str
        Addresses in the order of the atlas, at least one for each client: each notes on its own.
    texts : sequence of str
        Read, and continued with a unit ablated; no live questions if empty.
    words : sequence of str
        Found at the extremes of units; none are looked for if empty.
    clients : int
        How many.

    Returns
    -------
    Load
        Answers and errors of all of them.
    """
    place, made, end = urlsplit(address), Load(), time.monotonic() + seconds
    token = place.query.partition("token=")[2]
    head = {"cookie": f"nissl-{place.port}={token}", "content-type": "application/json"}

    def questions(me: int, rng: random.Random) -> dict[str, tuple[str, Any]]:
        row, text = rng.randrange(len(units)), rng.choice(texts or [""])
        edit = {"unit": units[row], "how": "ablate"}
        where, down = quote(f"density > {rng.uniform(0, 0.3)}"), rng.choice(["true", "false"])
        asked: dict[str, tuple[str, Any]] = {
            "list": (f"units?sort=mean&descending={down}&where={where}", None),
            "unit": (f"unit/{row}", None),
            "notes": ("note", {"unit": units[me], "text": f"{me} {rng.random()}"}),
        }
        if words:
            asked["find"] = (f"find?text={quote(rng.choice(words))}", None)
        if texts:
            asked["try"] = ("try", {"text": text})
            asked["touch"] = ("touch", {"prompt": text, "edits": [edit], "n": 4})
        return asked

    def client(me: int) -> None:
        rng = random.Random(me)
        while time.monotonic() < end:
            name, (path, body) = rng.choice(list(questions(me, rng).items()))
            connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=600)
            try:
                content = None if body is None else json.dumps(body)
                connection.request("POST" if body else "GET", f"/api/{path}", content, head)
                answer = connection.getresponse()
                said = answer.read().decode()
                made.answered[name] += 1
                if answer.status != 200 or '"error"' in said:
                    made.errors.append(f"{name} {answer.status}: {said[:300]}")
            except OSError as error:
                made.errors.append(f"{name}: {error!r}")
            finally:
                connection.close()

    threads = [threading.Thread(target=client, args=[me]) for me in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made


def resident(pid: int) -> float:
    """Return the memory of a process that is in use, in MB.

    Parameters
    ----------
    pid : int
        The process.

    Returns
    -------
    float
        As the system counts it.
    """
    (line,) = (s for s in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in s)
    return int(line.split()[1]) / 1000
