"""Read changed files, as many a format as asked for, and print what went wrong as JSON lines.

``python tests/fuzz/run.py N [SEED [NAME ...]]``. Wrong is an exception that is not ours, more than
ten seconds, more than a gigabyte, and a change that nobody noticed where there is a checksum.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from samples import SAMPLES, Sample, quiet

from nissl.errors import NisslError

SECONDS, BYTES = 10, 10**9


class TooLong(BaseException):
    """Ten seconds have gone; no reader may catch it."""


def stop(*_: Any) -> None:
    raise TooLong


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(a == b)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tried(sample: Sample, path: Path, data: bytes, right: Any) -> str:
    """Return what went wrong, or nothing."""
    path.write_bytes(data)
    before = peak()
    signal.alarm(SECONDS)
    wrong = ""
    try:
        found = sample.read(path)
        if sample.checked and not same(found, right):
            wrong = "a change was not noticed"
    except NisslError as error:
        wrong = "" if str(error) else "an error without words"
    except TooLong:
        wrong = f"more than {SECONDS} s"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        wrong = (
            f"{type(error).__name__}: {str(error)[:100]} ({Path(last.filename).name}:{last.lineno})"
        )
    finally:
        signal.alarm(0)
    grown = peak() - before
    return wrong or (f"{grown / 1e9:.1f} GB" if grown > BYTES else "")


def main(n: int, seed: int, names: list[str]) -> None:
    signal.signal(signal.SIGALRM, stop)
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_WRONLY)
    for number, sample in enumerate(SAMPLES):
        if names and sample.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, sample.name)
            quiet(sample.write)(path)
            whole, right = path.read_bytes(), sample.read(path)
            kept = os.dup(2)
            os.dup2(null, 2)  # what libraries say of damage
            for i in range(n):
                rng = np.random.default_rng([seed, number, i])
                data = sample.mutate(whole, rng)
                print(json.dumps({"name": sample.name, "input": i}), flush=True)
                faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
                if wrong := tried(sample, path, data, right):
                    print(json.dumps({"name": sample.name, "input": i, "wrong": wrong}), flush=True)
                faulthandler.cancel_dump_traceback_later()
            os.dup2(kept, 2)
    print(json.dumps({"done": True}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, sys.argv[3:])
