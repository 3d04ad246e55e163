"""The Dictionary: directions at a site, which make it a site whose units are features.

Features are recorded, ablated and steered as neurons are. Writing f' where the features were f
changes the site by ``decode(f') - decode(f)``: what the dictionary does not explain stays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from nissl.errors import NisslError
from nissl.fingerprint import fingerprint
from nissl.network.sites.site import Site

if TYPE_CHECKING:
    from nissl.network.sites.base import BaseNetwork
    from nissl.network.sites.batch import Batch
    from nissl.network.sites.hook_points import Handle, HookPoint, Visit

__all__ = ["Dictionary", "LinearDictionary", "dictionary_hash", "with_dictionary"]

N = TypeVar("N", bound="BaseNetwork")


@runtime_checkable
class Dictionary(Protocol):
    """Directions that turn a site into features.

    Examples
    --------
    >>> eye, zero = torch.eye(2), torch.zeros(2)
    >>> isinstance(LinearDictionary("0", eye, zero, eye, zero), Dictionary)
    True
    """

    @property
    def name(self) -> str:
        """What its features are called: "sae", "transcoder"."""

    @property
    def site_in(self) -> str:
        """The site that is encoded."""

    @property
    def site_out(self) -> str:
        """The site that is decoded to: `site_in`, or for a transcoder a later one."""

    @property
    def n_features(self) -> int:
        """How many features there are."""

    @property
    def directions(self) -> Tensor:
        """What each feature adds to `site_out`, shape (n_features, width)."""

    def encode(self, x: Tensor) -> Tensor:
        """Return features, shape (..., n_features), of activity, shape (..., width)."""

    def decode(self, features: Tensor) -> Tensor:
        """Return activity, shape (..., width), of features, shape (..., n_features)."""


@dataclass(frozen=True)
class LinearDictionary:
    """A dictionary of one linear encoder, an activation, and one linear decoder.

    Features are ``activation((x - b_dec) @ w_enc + b_enc)`` where the two sites are one, and
    ``activation(x @ w_enc + b_enc)`` in a transcoder; activity is ``features @ w_dec + b_dec``.

    Parameters
    ----------
    site_in : str
        The site that is encoded.
    w_enc : Tensor, shape (width, n_features)
        Encoder.
    b_enc : Tensor, shape (n_features,)
        Its bias.
    w_dec : Tensor, shape (n_features, width of site_out)
        Decoder.
    b_dec : Tensor, shape (width of site_out,)
        Its bias.
    activation : callable
        Of the features.
    site_out : str
        The site that is decoded to; by default `site_in`.
    name : str
        What the features are called.

    Examples
    --------
    >>> eye = torch.eye(3)
    >>> relu = LinearDictionary("0", eye, torch.zeros(3), eye, torch.zeros(3))
    >>> relu.encode(torch.tensor([1.0, -2.0, 3.0])).tolist()
    [1.0, 0.0, 3.0]
    """

    site_in: str
    w_enc: Tensor
    b_enc: Tensor
    w_dec: Tensor
    b_dec: Tensor
    activation: Callable[[Tensor], Tensor] = torch.relu
    site_out: str = ""
    name: str = "sae"

    def __post_init__(self) -> None:
        if not self.site_out:
            object.__setattr__(self, "site_out", self.site_in)
        n = self.n_features
        if self.w_enc.shape[1] != n or len(self.b_enc) != n:
            raise NisslError(
                f"the encoder has {self.w_enc.shape[1]} features, its bias {len(self.b_enc)}, the "
                f"decoder {n}"
            )

    @property
    def n_features(self) -> int:
        """How many features there are."""
        return len(self.w_dec)

    @property
    def directions(self) -> Tensor:
        """What each feature adds to `site_out`, shape (n_features, width)."""
        return self.w_dec

    def encode(self, x: Tensor) -> Tensor:
        """Return the features of activity.

        Parameters
        ----------
        x : Tensor, shape (..., width)
            Activity at `site_in`.

        Returns
        -------
        Tensor, shape (..., n_features)
            Features.
        """
        if self.site_in == self.site_out:
            x = x - self.b_dec.to(x)
        return self.activation(x @ self.w_enc.to(x) + self.b_enc.to(x))

    def decode(self, features: Tensor) -> Tensor:
        """Return activity of features.

        Parameters
        ----------
        features : Tensor, shape (..., n_features)
            Features.

        Returns
        -------
        Tensor, shape (..., width)
            Activity at `site_out`.
        """
        return features @ self.w_dec.to(features) + self.b_dec.to(features)


def with_dictionary(net: N, dictionary: Dictionary, *, name: str | None = None) -> N:
    """Return a network with one more site: see `Network.with_dictionary`.

    Parameters
    ----------
    net : Network
        The network.
    dictionary : Dictionary
        Directions at one of its sites.
    name : str, optional
        What the features are called; by default the dictionary's own name.

    Returns
    -------
    Network
        Another, of the same model.

    Raises
    ------
    NisslError
        The dictionary's sites are several, or already have features of this name.

    Examples
    --------
    >>> from nissl.network import Network, ablate
    >>> net = Network(nn.Sequential(nn.Identity(), nn.Identity()))
    >>> eye, zero = torch.eye(2), torch.zeros(2)
    >>> features = with_dictionary(net, LinearDictionary("0", eye, zero, eye, zero))
    >>> features.run(torch.tensor([[3.0, -1.0]]), sites="0.sae")["0.sae"].tolist()
    [[3.0, 0.0]]
    >>> with features.edit(ablate("0.sae[0]")):
    ...     features.model(torch.tensor([[3.0, -1.0]])).tolist()
    [[0.0, -1.0]]
    """
    name = name or dictionary.name
    into, out = _one(net, dictionary.site_in), _one(net, dictionary.site_out)
    full = f"{into.name}.{name}"
    if full in net.named_sites:
        raise NisslError("there already is such a site", where=full, do="give name=")
    point = Features(dictionary, into.hook_point, None if out.name == into.name else out.hook_point)
    site = Site(full, point, into.layer, dictionary.n_features)
    other = copy.copy(net)
    other.named_sites = {}
    for known, old in net.named_sites.items():
        other.named_sites[known] = old
        if known == into.name:
            other.named_sites[full] = site
    other.named_sites.setdefault(full, site)
    return other


def dictionary_hash(dictionary: Dictionary) -> str:
    """Return a hash of what a dictionary computes, whatever its site is called.

    Parameters
    ----------
    dictionary : Dictionary
        Directions at a site.

    Returns
    -------
    str
        Thirty-two hexadecimal digits.

    Examples
    --------
    >>> eye, zero = torch.eye(2), torch.zeros(2)
    >>> one, other = (LinearDictionary("0", x, zero, eye, zero) for x in (eye, 2 * eye))
    >>> dictionary_hash(one) == dictionary_hash(other)
    False
    """
    state = getattr(dictionary, "state_dict", None)
    kind = repr(getattr(dictionary, "kind", None))
    return fingerprint(dictionary if state is None else [kind, dict(state())])


@dataclass(frozen=True)
class Features:
    """The features of a site.

    Parameters
    ----------
    dictionary : Dictionary
        What encodes and decodes.
    into : HookPoint
        The site that is encoded.
    out : HookPoint or None
        The site that is decoded to, where it is another.
    """

    dictionary: Dictionary
    into: HookPoint
    out: HookPoint | None
    shared: Shared = field(default_factory=lambda: Shared(), compare=False)

    @property
    def path(self) -> str:
        """The module whose call fires the hook point."""
        return self.into.path

    def attach(
        self, model: nn.Module, visit: Visit, batch: Callable[[], Batch | None]
    ) -> list[Handle]:
        """Hook the site that is encoded, and the one that is decoded to."""
        me = object()
        change: list[Tensor] = []

        def encoded(x: Tensor) -> Tensor:
            features = self.shared.features(me, x, self.dictionary)
            new = visit(features)
            change.clear()
            if new is features:
                self.shared.keep(x, features)
                return x
            difference = self.dictionary.decode(new) - self.dictionary.decode(features)
            if self.out is not None:
                change.append(difference)
            else:
                x = x + difference
            self.shared.keep(x, new)
            return x

        def decoded(x: Tensor) -> Tensor:
            return x + change.pop().to(x.device) if change else x

        handles = self.into.attach(model, encoded, batch)
        if self.out is not None:
            handles += self.out.attach(model, decoded, batch)
        self.shared.order.append(me)
        return [*handles, _Left(self.shared, me)]


class Shared:
    """What several visitors of the same features know together.

    Encoding what was decoded does not give the same features again. So the second visitor is given
    the features as the first left them, unless someone changed the site itself in between.
    """

    def __init__(self) -> None:
        self.order: list[object] = []
        self.last: tuple[Tensor, Tensor] | None = None

    def __deepcopy__(self, memo: object) -> Shared:
        return Shared()

    def features(self, who: object, x: Tensor, dictionary: Dictionary) -> Tensor:
        """Return the features of a site for one of its visitors."""
        # The first visitor begins anew: what is remembered is of an earlier call.
        if who is not self.order[0] and self.last is not None:
            before, features = self.last
            if before is x or torch.equal(before, x):
                return features
        return dictionary.encode(x)

    def keep(self, x: Tensor, features: Tensor) -> None:
        """Remember the features with which a visitor left the site."""
        self.last = (x, features) if len(self.order) > 1 else None


class _Left:
    """Ends what one visitor shares with the others."""

    def __init__(self, shared: Shared, who: object) -> None:
        self.shared, self.who = shared, who

    def remove(self) -> None:
        """Leave; nothing is remembered for those who come later."""
        self.shared.order.remove(self.who)
        self.shared.last = None


def _one(net: BaseNetwork, name: str) -> Site:
    found = net.find(name)
    if len(found) > 1:
        raise NisslError(
            f"a dictionary belongs to one site, and '{name}' is {len(found)}",
            do="name it with its block, as in blocks.5.resid_post",
        )
    return found[0]
