"""Where training starts: the same σ, and the same spread of log σ, under any scale.

A fresh head's raw outputs scatter around their bias with some variance V. To first order log σ then
scatters with d²V, and the KL at the start is ½(σ² − 1) − log σ + ½·KL″·V, so the same raw outputs
cost 5 times the KL under log-std that they cost under log-variance. Setting the bias to raw(σ) and
scaling the head's raw columns by ½/d(σ) makes the start of every scale that of log-variance.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logvar import scales
from logvar.backend.compiling import from_host, host_float
from logvar.errors import LogvarError
from logvar.models.heads import ScaleHead, scale_head
from logvar.models.vae import VAEModel
from logvar.scales import Scale

_REFERENCE_SLOPE = 0.5  # log-variance's, which the factor therefore leaves as it is
_LARGEST_FACTOR = 10.0  # near a bound d → 0, and spread in log σ cannot be had at any factor


def chosen_sigma(initial_sigma: float | str, scale: str | Scale) -> float | None:
    """The σ to start at, or None for raw outputs as the network draws them.

    "auto" is what the source of a preset states, otherwise 1, where the KL is least, and where 1
    is out of reach the middle of what log σ reaches.

    Raises:
        LogvarError: the scale does not reach a σ that was asked for.
    """
    if initial_sigma == "as-is":
        return None
    found = scales.get(scale)
    if not isinstance(initial_sigma, str):
        found.check_reach(initial_sigma)
        return initial_sigma
    stated = scales.initial_sigma(scale)
    low, high = (np.asarray(bound, float) for bound in found.bounds)
    if stated is not None:
        return stated
    if np.max(low) < 1 < np.min(high):
        return 1.0
    return float(np.sqrt(np.max(low) * np.min(high)))


def starting_at(model: VAEModel, sigma: float, scale: Scale, *, required: bool) -> VAEModel:
    """The model with its encoder's head set so that σ starts there.

    Args:
        model: a fresh model.
        sigma: where to start.
        scale: the scale whose raw outputs the head puts out.
        required: whether an encoder without such a head is an error, or left alone.

    Raises:
        LogvarError: required, and the encoder is one of the user's own.
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
    """The model with the raw outputs of a head starting at σ, spread as under log-variance."""
    raw, factor = map(np.asarray, _raw_and_factor(host_float(sigma), scale))
    # On the host, where no program is compiled for the head's shape.
    layer = head.layer(model)
    factors = head.per_column(factor, 1.0).astype(np.float32)
    kernel = np.asarray(layer.kernel) * head.for_kernel(factors)
    bias = np.where(head.is_raw, raw, np.asarray(layer.bias))
    return head.with_arrays(model, from_host(kernel), from_host(bias))


@eqx.filter_jit  # one program: operation by operation it would compile twelve
def _raw_and_factor(sigma: Float[Array, ""], scale: Scale) -> tuple[Array, Array]:
    """The head's bias, and what its raw columns are multiplied by."""
    raw = jnp.asarray(scale.raw(sigma), jnp.float32)
    factor = _REFERENCE_SLOPE / scale.slope(raw)
    return raw, jnp.clip(factor, -_LARGEST_FACTOR, _LARGEST_FACTOR)
