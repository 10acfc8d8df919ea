"""The shape of what an encoder reads."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from logvar.likelihoods import Likelihood
from logvar.models.vae import with_condition, with_mask


def encoder_shape(
    likelihood: Likelihood, shape: tuple[int, ...], missing: bool, condition_size: int = 0
) -> tuple[int, ...]:
    """Return the shape of what the encoder reads, with mask and condition if there are any."""
    if not missing and not condition_size:
        return likelihood.encoder_shape(shape)

    def read(x: Array) -> Array:
        observed = jnp.ones(x.shape, bool)
        seen = likelihood.encoder_input(x, observed if missing else None)
        if missing:
            seen = with_mask(seen, likelihood.cells(observed))
        return with_condition(seen, jnp.zeros(condition_size)) if condition_size else seen

    x = jax.ShapeDtypeStruct(likelihood.example_shape(shape), jnp.float32)
    return jax.eval_shape(read, x).shape
