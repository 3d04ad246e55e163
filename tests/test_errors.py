"""Errors say what to do, and go from one process to another as they are."""

import copy
import importlib
import inspect
import pickle
import pkgutil

import pytest

import nissl
from nissl.errors import NisslError


def kinds():
    for module in pkgutil.walk_packages(nissl.__path__, "nissl."):
        if not module.name.startswith(("nissl.web", "nissl.cli.__main__")):
            importlib.import_module(module.name)
    found, waiting = [], [NisslError]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].__subclasses__()
    return found


def argument(parameter):
    words = ["one", "two"]
    text = str(parameter.annotation)
    return words if "list" in text or "Iterable" in text or "Sequence" in text else "some"


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_pickles(kind):
    parameters = inspect.signature(kind).parameters.values()
    named = {p.name: argument(p) for p in parameters if p.kind is p.KEYWORD_ONLY}
    error = kind(*[argument(p) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD], **named)
    error.add_note("a note")
    for made in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(made) is kind
        assert str(made) == str(error)
        assert vars(made) == vars(error)
