"""Images that a network reads for its atlas: files of them, their labels, the sites to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os.path import exists, isdir, isfile  # unlike those of Path these take any string
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from nissl.errors import NisslError

if TYPE_CHECKING:
    from nissl.network import Network, Plan

__all__ = ["default_sites", "image_files", "labelled", "labels_of", "some_images"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


class ImageFiles:
    """Pictures in files, opened when they are read.

    Parameters
    ----------
    paths : list of Path
        The files.
    """

    def __init__(self, paths: list[Path]):
        self.paths = [str(path) for path in paths]
        # What tells these files from changed ones, without reading them all.
        self.stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]

    def __len__(self) -> int:
        return len(self.paths)

    def some(self, chosen: np.ndarray[Any, Any]) -> ImageFiles:
        """Return some of the files."""
        return ImageFiles([Path(self.paths[i]) for i in chosen])

    def __getitem__(self, part: slice) -> list[np.ndarray[Any, Any]]:
        from PIL import Image, UnidentifiedImageError

        found = []
        for path in self.paths[part]:
            try:
                with Image.open(path) as picture:
                    found.append(np.asarray(picture.convert("RGB")))
            except (UnidentifiedImageError, OSError) as error:
                raise NisslError(
                    "the file is no picture that can be read",
                    where=path,
                    do="leave it out, or give a PNG or JPEG file",
                ) from error
        return found


def image_files(net: Network, inputs: Any) -> Any:
    """Open a folder or a list of files of images; return anything else as it is.

    Parameters
    ----------
    net : Network
        The network; one with a tokenizer reads strings as text.
    inputs : path, list of paths, or anything else
        A folder is read with its subfolders, whose names are then the labels of their images.

    Returns
    -------
    images
        Opened batch by batch; of a folder with subfolders, with ``labels`` and ``classes``.

    Raises
    ------
    NisslError
        A file is missing, no image lies in the folder, or the network has no image transform.
    """
    has_labels = hasattr(inputs, "labels") and hasattr(inputs, "values")
    if has_labels and np.ndim(inputs.values) == 3 and net.transform is not None:
        # A stack of grey pictures looks like one picture in colours.
        classes = getattr(inputs, "classes", None)
        return SimpleNamespace(values=list(inputs.values), labels=inputs.labels, classes=classes)
    alone = isinstance(inputs, str | Path)
    given = [inputs] if alone else inputs
    if not isinstance(given, list | tuple) or not given:
        return inputs
    if not all(isinstance(path, str | Path) for path in given):
        return inputs
    sees = net.tokenizer is None and (net.transform is not None or exists(given[0]))
    if isinstance(given[0], str) and not sees:
        return inputs  # text
    paths = [Path(path).expanduser() for path in given]
    folder = paths[0] if alone and isdir(paths[0]) else None
    if folder is not None:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    missing = next((p for p in paths if not isfile(p)), None)
    if missing is not None or not paths:
        raise NisslError(
            "there is no such image" if missing else "there is no image in the folder",
            where=str(missing or folder)[:200],
            do=f"give files or a folder of files that end in {', '.join(SUFFIXES)}",
        )
    if net.transform is None:
        raise NisslError(
            "this network has no image transform, which makes its input of a picture",
            do="load it with transform=, or give a float tensor (n, channels, rows, columns)",
        )
    names = [p.parent.name for p in paths]
    if folder is None or all(p.parent == folder for p in paths):
        return ImageFiles(paths)
    classes, codes = np.unique(names, return_inverse=True)
    return SimpleNamespace(values=ImageFiles(paths), labels=codes, classes=tuple(classes.tolist()))


def some_images(images: Any, n: int) -> Any:
    """Return some images, spread evenly over all.

    Parameters
    ----------
    images : array, tensor, list, or what `image_files` or `nissl.specimens.read` returned
        Images, with or without labels.
    n : int
        How many; all where there are not more.

    Returns
    -------
    images
        Of the same kind.

    Raises
    ------
    NisslError
        They are not images that can be counted.

    Examples
    --------
    >>> some_images(np.arange(10), 3).tolist()
    [0, 4, 9]
    """
    values = images.values if hasattr(images, "labels") else images
    if isinstance(values, Mapping | str) or not hasattr(values, "__len__"):
        raise NisslError(
            f"n_images= counts images, and a {type(images).__name__} holds none that can be chosen",
            do="give fewer images",
        )
    chosen = np.linspace(0, len(values) - 1, min(n, len(values))).astype(int)
    if isinstance(values, list | tuple):
        values = [values[i] for i in chosen]
    else:
        values = values.some(chosen) if isinstance(values, ImageFiles) else values[chosen]
    if not hasattr(images, "labels"):
        return values
    return SimpleNamespace(
        values=values,
        labels=np.asarray(images.labels)[chosen],
        classes=getattr(images, "classes", None),
    )


def labelled(plan: Plan, labels: Any) -> Plan:
    """Return a plan of images that carry labels.

    Parameters
    ----------
    plan : Plan
        Of images, or other items that are no text.
    labels : sequence, or mapping of str to sequence
        One for each image, called ``label``; or several, by name.

    Returns
    -------
    Plan
        With the labels it had, and these.

    Raises
    ------
    NisslError
        The plan is of text, or labels are not as many as images.
    """
    from nissl.network.run.plan import ItemPlan
    from nissl.recording.labels import as_column

    if not isinstance(plan, ItemPlan):
        raise NisslError(
            "labels= are of images, and these inputs are text",
            do="give a DataFrame with a column 'text' and a column 'language'",
        )
    named = labels if isinstance(labels, Mapping) else {"label": labels}
    columns = {
        str(name): as_column(given.tolist() if hasattr(given, "tolist") else list(given))
        for name, given in named.items()
    }
    for name, column in columns.items():
        if column.shape != (plan.n_items,):
            raise NisslError(
                f"{plan.n_items} images have labels of shape {column.shape}",
                where=name,
                do="give one label for each image",
            )
    return replace(plan, labels={**plan.labels, **columns})


def labels_of(plan: Plan) -> dict[str, np.ndarray[Any, Any]]:
    """Return the labels that the images of a plan carry.

    Parameters
    ----------
    plan : Plan
        Of anything.

    Returns
    -------
    dict of str to array, each of shape (n_images,)
        Empty where inputs are text, or carry none.
    """
    return dict(getattr(plan, "labels", {}))


def default_sites(net: Network) -> str | list[str]:
    """Name the sites that an atlas looks at where none are given.

    Parameters
    ----------
    net : Network
        The network.

    Returns
    -------
    str or list of str
        ``mlp.neurons`` where the network has them; else its convolutions and linear layers, each
        after the batch normalisation that follows it: what the nonlinearity reads.

    Examples
    --------
    >>> from torch import nn
    >>> from nissl.network import Network
    >>> layers = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    >>> default_sites(Network(nn.Sequential(*layers)))
    ['1', '4']
    """
    from torch.nn import Linear
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.conv import _ConvNd

    if any(name.endswith("mlp.neurons") for name in net.named_sites):
        return "mlp.neurons"
    names: list[str] = []
    before: Any = None
    for name, module in net.model.named_modules():
        if any(True for _ in module.children()):
            continue
        if isinstance(module, _ConvNd | Linear):
            names.append(name)
        elif isinstance(module, _BatchNorm) and isinstance(before, _ConvNd | Linear):
            names[-1] = name
        before = module
    return names or "mlp.neurons"
