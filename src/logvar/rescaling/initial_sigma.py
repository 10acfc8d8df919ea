"""The start of training: the same σ, and the same spread of log σ, under any scale.

A fresh head's raw outputs vary around their bias with some variance V. To first order log σ then
varies with d²V, and the KL at the start is ½(σ² − 1) − log σ + ½·KL″·V, so the same raw outputs
cost 5 times the KL under log-std as under log-variance. Setting the bias to raw(σ) and scaling
the head's raw columns by ½/d(σ) makes every scale start like log-variance.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logvar import scales
from logvar.backend.compiling import from_host, host_float
from logvar.errors import LogvarError
from logvar.models.heads import ScaleHead, scale_head
from logvar.models.vae import VAEModel
from logvar.scales import Scale

_REFERENCE_SLOPE = 0.5  # log-variance's, so its factor is 1
_LARGEST_FACTOR = 10.0  # near a bound d → 0, and no factor can restore the spread of log σ


def chosen_sigma(initial_sigma: float | str, scale: str | Scale) -> float | None:
    """Return the σ to start at, or None for raw outputs as the network initializes them.

    "auto" is the σ stated by the source of a preset. Otherwise it is 1, where the KL is smallest,
    or inside the range of σ if the scale does not reach 1.

    Raises:
        LogvarError: the scale does not reach the requested σ.
    """
    if initial_sigma == "as-is":
        return None
    found = scales.get(scale)
    if not isinstance(initial_sigma, str):
        found.check_reach(initial_sigma)
        return initial_sigma
    stated = scales.initial_sigma(scale)
    return found.middle() if stated is None else stated


def starting_at(model: VAEModel, sigma: float, scale: Scale, *, required: bool) -> VAEModel:
    """Return the model with its encoder's head set to start at σ.

    Args:
        model: a fresh model.
        sigma: the σ to start at.
        scale: the scale of the head's raw outputs.
        required: whether an encoder without such a head is an error; otherwise it is unchanged.

    Raises:
        LogvarError: required, and the encoder is the user's own.
    """
    head = scale_head(model)
    if head is None:
        if required:
            raise LogvarError(
                "initial_sigma needs a built-in encoder, whose last layer is one matrix for mean "
                "and raw output; got one of your own: set its bias yourself (scale.raw(sigma) says "
                "to what), or use initial_sigma='as-is'"
            )
        return model
    return with_raw_at(model, head, sigma, scale)


def with_raw_at(model: VAEModel, head: ScaleHead, sigma: float, scale: Scale) -> VAEModel:
    """Return the model with a head's raw outputs starting at σ, spread as under log-variance."""
    # Bounds for each latent are arrays, whose values a scale needs: not in a compiled program.
    has_arrays = any(eqx.is_array(leaf) for leaf in jax.tree.leaves(scale))
    found = _raw_and_factor if has_arrays else _raw_and_factor_compiled
    raw, factor = map(np.asarray, found(host_float(sigma), scale))
    # On the host, so that no program is compiled for the head's shape.
    layer = head.layer(model)
    factors = head.per_column(factor, 1.0).astype(np.float32)
    kernel = np.asarray(layer.kernel) * factors
    raws = head.per_column(raw, 0.0).astype(np.float32)
    bias = np.where(head.is_raw, raws, np.asarray(layer.bias))
    return head.with_arrays(model, from_host(kernel), from_host(bias))


def _raw_and_factor(sigma: Float[Array, ""], scale: Scale) -> tuple[Array, Array]:
    """Return the head's bias, and the factor of its raw columns."""
    raw = jnp.asarray(scale.raw(sigma), jnp.float32)
    factor = _REFERENCE_SLOPE / scale.slope(raw)
    return raw, jnp.clip(factor, -_LARGEST_FACTOR, _LARGEST_FACTOR)


# One program: operation by operation it would compile twelve.
_raw_and_factor_compiled = eqx.filter_jit(_raw_and_factor)
