"""Circuits that are written by hand into small networks."""

from nissl.specimens.pinned import Specimen

__all__ = ["TABLE"]

ABOUT = {
    "previous-token": "a head that says the previous token; Llama, 2 layers x 72",
    "induction": "a previous-token head and an induction head; Llama, 2 layers x 72",
    "two-hops": "C of B of A: two MLPs that know words, a head between them; Llama, 3 layers x 72",
    "saturated-gate": "a head that chooses, its softmax saturated; Llama, 2 layers x 72",
    "cancelling-paths": "a head and an MLP that cancel by gradients; Llama, 3 layers x 72",
    "backup-head": "a head, and another for when it is ablated; Llama, 3 layers x 72",
}

TABLE = tuple(
    Specimen(
        name=f"planted-{name}",
        kind="circuit",
        about=about,
        licence="Apache-2.0",
        loader=f"nissl.specimens.planted.circuits:{name.replace('-', '_')}",
        sources=(),
    )
    for name, about in ABOUT.items()
)
