"""Activity whose features are known."""

from nissl.specimens.pinned import Specimen

__all__ = ["TABLE"]

ABOUT = {
    "zipf": "activity of 128 features in 64 units, rates by Zipf's law",
    "hierarchy": "activity of 128 features in 64 units, children active only with their parent",
    "correlated": "activity of 128 features in 64 units, groups of four active together",
    "superposition": "activity of 256 features in 64 units, all as frequent",
    "noise": "activity of 64 units with the covariance of planted-zipf, and no features",
}

TABLE = tuple(
    Specimen(
        name=f"planted-{name}",
        kind="features",
        about=about,
        licence="Apache-2.0",
        loader=f"nissl.specimens.planted.features:{name}",
        sources=(),
    )
    for name, about in ABOUT.items()
)
