"""Masked autoregressive flows: an invertible network on latents, and densities through it."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.distributions.base import Distribution, Groups, Latents
from logvar.distributions.multivariate import StandardNormal
from logvar.distributions.normal import Normal
from logvar.scales import Scale

Scalar = Float[Array, ""]
_FIRST = 0.1
"""The size of the first weights of a layer's outputs: a flow starts close to the identity."""


class Layers(eqx.Module):
    """Affine autoregressive layers, yᵢ = mᵢ(x₁ … xᵢ₋₁, c) + σᵢ(x₁ … xᵢ₋₁, c)·xᵢ.

    Each layer has a network with one hidden layer whose weights are masked (Germain et al. 2015,
    arXiv 1502.03509), and reverses the order of the latents for the next one. Forward is one pass
    (`transform`), backward one pass per latent (`inverse`). The order is fixed and nothing but
    weights differs between two flows of one shape.

    Args:
        latents, context: (layers, width, latent) and (layers, width, context), into the hidden one;
            context is None for a flow without one.
        bias: (layers, width).
        shift, raw: (layers, latent, width), out of it.
        shift_bias, raw_bias: (layers, latent).
    """

    latents: Float[Array, "layers width latent"]
    context: Float[Array, "layers width context"] | None
    bias: Float[Array, "layers width"]
    shift: Float[Array, "layers latent width"]
    raw: Float[Array, "layers latent width"]
    shift_bias: Float[Array, "layers latent"]
    raw_bias: Float[Array, "layers latent"]

    @classmethod
    def drawn(
        cls,
        key: PRNGKeyArray,
        latent_dim: int,
        layers: int,
        width: int,
        scale: Scale,
        context: int = 0,
    ) -> "Layers":
        """Return layers with random weights, at σ = 1 or in the middle of the scale's range."""
        keys = jax.random.split(key, 4)

        def uniform(key: PRNGKeyArray, shape: tuple[int, ...], limit: float) -> Array:
            return jax.random.uniform(key, shape, minval=-limit, maxval=limit)

        inward = 1 / math.sqrt(latent_dim + context)
        outward = _FIRST / math.sqrt(width)
        start = jnp.asarray(scale.raw(scale.middle()), jnp.float32)  # or one for each latent
        return cls(
            uniform(keys[0], (layers, width, latent_dim), inward),
            uniform(keys[1], (layers, width, context), inward) if context else None,
            jnp.zeros((layers, width)),
            uniform(keys[2], (layers, latent_dim, width), outward),
            uniform(keys[3], (layers, latent_dim, width), outward),
            jnp.zeros((layers, latent_dim)),
            jnp.array(jnp.broadcast_to(start, (layers, latent_dim))),
        )

    def transform(
        self, x: Latents, scale: Scale, context: Float[Array, "context"] | None = None
    ) -> tuple[Latents, Scalar]:
        """Return (y, log |det dy/dx|)."""
        log_det = jnp.zeros((), x.dtype)
        for layer in range(len(self.bias)):
            shift, raw = self._affine(layer, x, context)
            x = (shift + scale.sigma(raw) * x)[::-1]
            log_det += jnp.sum(scale.log_sigma(raw))
        return x, log_det

    def inverse(
        self, y: Latents, scale: Scale, context: Float[Array, "context"] | None = None
    ) -> tuple[Latents, Scalar]:
        """Return (x, log |det dx/dy|)."""
        log_det = jnp.zeros((), y.dtype)
        for layer in reversed(range(len(self.bias))):
            y, raw = self._solved(layer, y[::-1], scale, context)
            log_det -= jnp.sum(scale.log_sigma(raw))
        return y, log_det

    def _solved(
        self, layer: int, y: Latents, scale: Scale, context: Float[Array, "context"] | None
    ) -> tuple[Latents, Latents]:
        """Solve a layer for x, one latent after another; also return the raw outputs there."""
        latents = jnp.arange(len(y))

        def one(x: Latents, i: Array) -> tuple[Latents, None]:
            shift, raw = self._affine(layer, x, context)
            return jnp.where(latents == i, (y - shift) / scale.sigma(raw), x), None

        x, _ = lax.scan(one, jnp.zeros_like(y), latents)
        return x, self._affine(layer, x, context)[1]

    def _affine(
        self, layer: int, x: Latents, context: Float[Array, "context"] | None
    ) -> tuple[Latents, Latents]:
        into, out = self._masks(x.dtype)
        # Latents far away move a layer's σ by the power of their distance and not exponentially.
        hidden = (self.latents[layer] * into) @ jnp.arcsinh(x) + self.bias[layer]
        if context is not None and self.context is not None:
            hidden += self.context[layer] @ context
        hidden = jax.nn.silu(hidden)
        shift = (self.shift[layer] * out) @ hidden + self.shift_bias[layer]
        return shift, (self.raw[layer] * out) @ hidden + self.raw_bias[layer]

    def _masks(self, dtype: np.dtype) -> tuple[Array, Array]:
        """Which weights exist: hidden unit k reads latents up to its degree, from −1 (none) to
        D − 2, and output i reads the units whose degree is below i."""
        _, width, latent_dim = self.latents.shape
        degree = np.arange(width) % latent_dim - 1
        index = np.arange(latent_dim)
        into, out = index[None] <= degree[:, None], degree[None] < index[:, None]
        return jnp.asarray(into, dtype), jnp.asarray(out, dtype)


class FlowDensity(Distribution):
    """p(z) = N(f(z); 0, I)·|det df/dz|: a pass for a density, and one per latent for a draw."""

    layers: Layers
    scale: Scale
    latent_dim: int = eqx.field(static=True)

    def log_prob(self, z: Latents) -> Scalar:
        noise, log_det = self.layers.transform(z, self.scale)
        return StandardNormal(self.latent_dim).log_prob(noise) + log_det

    def sample(self, key: PRNGKeyArray) -> Latents:
        noise = jax.random.normal(key, (self.latent_dim,), self.layers.bias.dtype)
        return self.layers.inverse(noise, self.scale)[0]


class FlowOfNormal(Distribution):
    """z = f(μ + σ ⊙ ε; context): a pass for a draw and its density, one per latent for another z.

    log q = log N(ε) − Σ log σ − log |det df|.
    """

    mean: Latents
    raw: Latents
    context: Float[Array, "context"]
    layers: Layers
    scale: Scale

    @property
    def _base(self) -> Normal:
        return Normal(self.mean, self.raw, self.scale)

    def draw(self, noise: Latents) -> Latents:
        return self.layers.transform(self._base.reparameterize(noise), self.scale, self.context)[0]

    def log_prob(self, z: Latents) -> Scalar:
        x, log_det = self.layers.inverse(z, self.scale, self.context)
        return jnp.sum(self._base.log_prob(x)) + log_det

    def log_prob_groups_of_noise(self, noise: Latents) -> Groups:
        x = self._base.reparameterize(noise)
        log_det = self.layers.transform(x, self.scale, self.context)[1]
        return (jnp.sum(self._base.log_prob_of_noise(noise)) - log_det)[None]

    def sample(self, key: PRNGKeyArray) -> Latents:
        return self.draw(jax.random.normal(key, self.mean.shape, self.mean.dtype))
