"""`import nissl` and `nissl --help` load nothing heavy; every name that is promised is there."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import nissl
from made_up_atlas import make_atlas
from nissl.atlas.page.write import write_page

HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "xarray",
    "numpy",
    "matplotlib",
    "scipy",
    "sklearn",
    "numba",
    "zarr",
    "dask",
    "pyarrow",
    "mne",
    "nilearn",
    "pynwb",
    "nibabel",
    "h5py",
    "gguf",
)
STUBS = sorted(Path(nissl.__file__).parent.rglob("__init__.pyi"))


def loaded_after(code: str) -> set[str]:
    """The heavy libraries in sys.modules after the code ran in a process of its own."""
    report = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split()) & set(HEAVY)


@pytest.mark.parametrize(
    "code",
    [
        "import nissl",
        "import nissl.cli",
        "from nissl.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from nissl.cli import main\ntry: main(['atlas', '--help'])\nexcept SystemExit: pass",
        "from nissl.cli import main\ntry: main(['methods'])\nexcept SystemExit: pass",
        "from nissl.cli import main\ntry: main(['cite', '3'])\nexcept SystemExit: pass",
        "import nissl; nissl.claim, nissl.NisslError",
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded_after(code) == set()


def test_the_first_view_of_the_explorer_waits_for_numpy_alone(tmp_path: Path) -> None:
    page = make_atlas(tmp_path)
    write_page(page)
    serve = "import nissl.cli; from nissl.atlas import open_atlas; from nissl.web import server"
    assert loaded_after(f"{serve}\nserver(open_atlas({str(page)!r}), token='x')") == {"numpy"}


def test_the_guard_sees_what_is_loaded() -> None:
    assert loaded_after("import numpy") == {"numpy"}


@pytest.mark.parametrize("stub", STUBS, ids=lambda p: p.parent.name)
def test_every_promised_name_is_there(stub: Path) -> None:
    folder = stub.parent.relative_to(Path(nissl.__file__).parent)
    room = importlib.import_module(".".join(("nissl", *folder.parts)))
    names = [
        alias.asname or alias.name
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    for name in names:
        assert getattr(room, name) is not None
    assert set(names) <= set(dir(room))
