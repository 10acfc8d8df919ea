"""KL(q ‖ p) in closed form, looked up by the pair of classes."""

from collections.abc import Callable

import jax.numpy as jnp

from logvar.distributions.base import Distribution, Groups
from logvar.distributions.low_rank import LowRankNormal
from logvar.distributions.multivariate import DiagonalNormal, FullNormal, StandardNormal
from logvar.distributions.power_spherical import PowerSpherical, UniformSphere


def kl(q: Distribution, p: Distribution) -> Groups | None:
    """Return KL(q ‖ p) in nats and in groups, or None if the pair has no closed form.

    The groups are the terms of the chain rule: group i is KL(q(zᵢ | z₁ … zᵢ₋₁) ‖ p(zᵢ)), averaged
    over the latents before it.
    """
    found = PAIRS.get((type(q), type(p)))
    return None if found is None else found(q, p)


def has_closed_form(q: type[Distribution], p: type[Distribution]) -> bool:
    """Return whether `kl` has this pair."""
    return (q, p) in PAIRS


def _diagonal_to_standard(q: DiagonalNormal, p: StandardNormal) -> Groups:
    return q.each.kl()


def _diagonal_to_diagonal(q: DiagonalNormal, p: DiagonalNormal) -> Groups:
    return q.each.kl(p.each)


def _full_to_standard(q: FullNormal, p: StandardNormal) -> Groups:
    """½(‖L‖²_F + ‖μ‖² − D) − Σ log σᵢ, by rows of L."""
    below = jnp.sum(jnp.square(q.strictly_lower), axis=-1)
    return DiagonalNormal(q.mean, q.raw, q.scale).each.kl() + 0.5 * below


def _low_rank_to_standard(q: LowRankNormal, p: StandardNormal) -> Groups:
    return q.kl_to_standard()[None]


def _power_spherical_to_uniform(q: PowerSpherical, p: UniformSphere) -> Groups:
    return q.kl_to_uniform()[None]


PAIRS: dict[tuple[type[Distribution], type[Distribution]], Callable[..., Groups]] = {
    (DiagonalNormal, StandardNormal): _diagonal_to_standard,
    (DiagonalNormal, DiagonalNormal): _diagonal_to_diagonal,
    (FullNormal, StandardNormal): _full_to_standard,
    (LowRankNormal, StandardNormal): _low_rank_to_standard,
    (PowerSpherical, UniformSphere): _power_spherical_to_uniform,
}
"""The pairs with a closed form. To add one, write a function and a line here."""
