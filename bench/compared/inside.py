"""Measure a peer's tasks in its environment: ``python -m bench.compared.inside PEER FOLDER``.

With ``theirs`` or ``ours`` as well, that arm does the first task once, alone. Printed is JSON, a
line a task.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from bench.compared.task import Given, Task, alone, compared


def main(peer: str, folder: str, arm: str = "", first: str = "0") -> None:
    """Measure one peer's tasks from the first on, or one arm of its first task."""
    tasks: list[Task] = importlib.import_module(f"bench.compared.{peer}").TASKS
    given = Given(Path(folder))
    if arm in ("theirs", "ours"):
        print("\n" + json.dumps(alone(getattr(tasks[0], arm), given)))
        return
    import torch

    torch.set_num_threads(1)
    for task in tasks[int(first) :]:
        about = {"name": task.name, "note": task.note, "rounds": task.rounds}
        print("\n" + json.dumps(about | compared(task, given)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
