"""The catalogue: every row whole, every loader there, and unknown names answered with near ones."""

import re
from importlib import import_module

import pytest

from nissl.errors import UnknownName
from nissl.specimens import load, specimen, specimens
from nissl.specimens.pinned import Specimen

NAMES = specimens()["name"].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_whole(name: str) -> None:
    entry: Specimen = specimen(name)
    assert entry.sources or entry.kind in ("circuit", "features")
    assert entry.licence
    for source in entry.sources:
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert source.size > 1000
        assert source.version in source.file
    module, function = entry.loader.split(":")
    assert callable(getattr(import_module(module), function))


def test_names_are_unique_and_promised_ones_are_there() -> None:
    assert len(set(NAMES)) == len(NAMES)
    promised = """smollm2 gemma3-270m stories15m minilm tis-folds resnet50 efficientnet-lite0 mnist
        fashion-mnist cifar10 udhr head-direction haxby hcp worm scp1 qwen2.5-coder-1.5b mpnet
        progan reader"""
    assert set(promised.split()) <= set(NAMES)


def test_the_digest_tells_pins_apart() -> None:
    sources = {specimen(name).sources for name in NAMES}
    assert len({specimen(name).digest for name in NAMES}) == len(sources)


def test_an_unknown_name_or_option() -> None:
    with pytest.raises(UnknownName, match="did you mean 'stories15m'"):
        specimen("stories-15m")
    with pytest.raises(UnknownName, match="no option is called 'bins'"):
        load("head-direction", bins=3)
