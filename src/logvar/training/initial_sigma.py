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
from logvar.model import Model
from logvar.networks.layers import Dense
from logvar.scales import Scale
from logvar.training.matching import has_head

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
        found.raw(initial_sigma)
        return initial_sigma
    stated = scales.initial_sigma(scale)
    low, high = (np.asarray(bound, float) for bound in found.bounds)
    if stated is not None:
        return stated
    if np.max(low) < 1 < np.min(high):
        return 1.0
    return float(np.sqrt(np.max(low) * np.min(high)))


def starting_at(model: Model, sigma: float, scale: Scale, *, required: bool) -> Model:
    """The model with its encoder's head set so that σ starts there.

    Args:
        model: a fresh model.
        sigma: where to start.
        scale: the scale whose raw outputs the head puts out.
        required: whether an encoder without such a head is an error, or left alone.

    Raises:
        LogvarError: required, and the encoder is one of the user's own.
    """
    if not has_head(model):
        if required:
            raise LogvarError(
                "initial_sigma needs a built-in encoder, whose last layer is one matrix for mean "
                "and raw output; got one of your own: set its bias yourself (scale.raw(sigma) says "
                "to what), or use initial_sigma='as-is'"
            )
        return model
    started = _starting_at(model.encoder.head, sigma, scale)  # type: ignore[attr-defined]
    return eqx.tree_at(lambda model: model.encoder.head, model, started)


def _starting_at(head: Dense, sigma: float, scale: Scale) -> Dense:
    raw, factor = map(np.asarray, _raw_and_factor(host_float(sigma), scale))
    columns = head.bias.shape[0]
    # On the host, where no program is compiled for the head's shape.
    is_raw = np.arange(columns) >= columns // 2
    kernel = np.asarray(head.kernel) * np.where(is_raw, factor, np.float32(1))
    bias = np.where(is_raw, raw, np.asarray(head.bias))
    started = from_host(kernel), from_host(bias)
    return eqx.tree_at(lambda head: (head.kernel, head.bias), head, started)


@eqx.filter_jit  # one program: operation by operation it would compile twelve
def _raw_and_factor(sigma: Float[Array, ""], scale: Scale) -> tuple[Array, Array]:
    """The head's bias, and what its raw columns are multiplied by."""
    raw = jnp.asarray(scale.raw(sigma), jnp.float32)
    factor = _REFERENCE_SLOPE / scale.slope(raw)
    return raw, jnp.clip(factor, -_LARGEST_FACTOR, _LARGEST_FACTOR)
