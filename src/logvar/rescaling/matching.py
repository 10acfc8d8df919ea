"""Train one scale of the log family in the coordinates of another.

For log σ = rate·r, a run under rate₂ equals a run under rate₁ if the raw outputs start at
c·r with c = rate₁/rate₂, and the optimizer sees the scale head's weights divided by c and its
gradients multiplied by c. This compensates learning rate, Adam's ε, weight decay and gradient
clipping at once, for any optimizer; for a power of two it is exact to the bit.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from logvar import scales
from logvar.backend.compiling import from_host
from logvar.errors import LogvarError
from logvar.models.heads import scale_head
from logvar.models.vae import VAEModel
from logvar.training.state import partition


def factor_between(scale: str | scales.Scale, reference: str | scales.Scale) -> float:
    """Return c with rate_scale · (c·r) = rate_reference · r.

    Raises:
        LogvarError: one of them is not of the log family.
    """
    ours, theirs = _of_the_log_family(scale), _of_the_log_family(reference)
    return theirs.rate / ours.rate


def _of_the_log_family(scale: str | scales.Scale) -> scales.LogFamily:
    found = scales.get(scale)
    if not isinstance(found, scales.LogFamily):
        raise LogvarError(
            f"match needs two scales of the log family, got {scales.describe(found)!r}: expected "
            "log-variance, log-std, isometric or log-precision"
        )
    return found


def matched(model: VAEModel, reference: str | scales.Scale) -> tuple[VAEModel, PyTree]:
    """Return the model started as `reference` would start, and the coordinates to train it in.

    Raises:
        LogvarError: the encoder has no `head` that is one matrix for mean and raw output.
    """
    factor = factor_between(model.scale, reference)
    if scale_head(model) is None:
        raise LogvarError(
            "match needs a built-in encoder, whose last layer is one matrix for mean and raw "
            "output; got one of your own: use network='mlp', 'conv' or 'tutorial'"
        )
    in_coordinates = coordinates(model, factor)
    params, static = partition(model)
    return eqx.combine(jax.tree.map(jnp.multiply, params, in_coordinates), static), in_coordinates


def coordinates(model: VAEModel, factor: float = 1.0) -> PyTree:
    """Return a factor for each weight: `factor` for the head's raw columns, otherwise 1.

    Unmatched runs train in coordinates of ones rather than in none, so that a run and its match
    use the same compiled program: another program may sum the gradient's norm in another order.
    """
    params, _ = partition(model)
    # Made on the host, so that nothing is compiled for it.
    ones = jax.tree.map(lambda leaf: from_host(np.ones((), leaf.dtype)), params)
    head = scale_head(model)
    if head is None:
        return ones
    columns = head.per_column(factor, 1.0).astype(np.float32)
    return head.with_arrays(ones, from_host(columns[None]), from_host(columns))
