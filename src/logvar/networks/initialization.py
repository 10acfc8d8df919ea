"""How the weights of a layer start: uniform numbers whose spread depends on its width."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from logvar.backend.compiling import from_host

_DRAWN_AT_ONCE = 2**14

Limit = Callable[[int | float, int, int], float]
"""Returns how far from 0 a layer's weights may start, from the number of terms of each of its
sums, and from the fans, which count the whole window of a convolution whatever its stride."""


def _lecun(terms: int | float, fan_in: int, fan_out: int) -> float:
    return math.sqrt(3 / terms)


def _glorot(terms: int | float, fan_in: int, fan_out: int) -> float:
    return math.sqrt(6 / (fan_in + fan_out))


def _he(terms: int | float, fan_in: int, fan_out: int) -> float:
    return math.sqrt(6 / terms)


def _pytorch(terms: int | float, fan_in: int, fan_out: int) -> float:
    return 1 / math.sqrt(terms)


INITIALIZATIONS: Mapping[str, Limit] = MappingProxyType(
    {
        "pytorch": _pytorch,
        "lecun": _lecun,
        "glorot": _glorot,
        "he": _he,
    }
)
"""By name. Biases start at 0. The variance of a kernel is

- `pytorch`: 1/(3·terms), as in PyTorch's and Equinox's layers, which draw their biases, too. The
  default of our dense networks, because it overfits small tables later than `lecun`;
- `lecun`: 1/terms, so that sums keep the variance of what they add up (LeCun et al. 1998,
  Efficient BackProp): our convolutional networks, which are deeper;
- `glorot`: 2/(fan_in + fan_out) (Glorot & Bengio 2010, AISTATS), with the fans of Keras. It starts
  a decoder's first layer near 0 where latents are few and units many, which training has to undo;
- `he`: 2/terms (He et al. 2015, arXiv 1502.01852).
"""


def uniform(key: PRNGKeyArray, shape: tuple[int, ...], limit: float) -> Float[Array, "*shape"]:
    """Uniform in ±limit.

    The numbers are those of `jax.random.uniform`, whose number i is a function of (key, i). They
    are drawn in blocks of one size, so that layers of every shape share one compiled program.
    """
    size = math.prod(shape)
    firsts = range(0, size, _DRAWN_AT_ONCE)
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        blocks = [_block(key, np.uint32(first), np.float32(limit)) for first in firsts]
        if not any(isinstance(block, jax.core.Tracer) for block in blocks):
            drawn = np.concatenate([np.asarray(block) for block in blocks])
            return from_host(drawn[:size].reshape(shape))
    # Inside a compiled function, or in float64: drawn as one array.
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


@jax.jit
def _block(key: PRNGKeyArray, first: Array, limit: Array) -> Float[Array, "block"]:
    """Numbers first, first + 1, … of `jax.random.uniform(key, minval=-limit, maxval=limit)`."""
    counters = first + jnp.arange(_DRAWN_AT_ONCE, dtype=jnp.uint32)
    words = jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(key, i)))(counters)
    mantissa = (words[:, 0] ^ words[:, 1]) >> np.uint32(9)
    from_one_to_two = lax.bitcast_convert_type(mantissa | np.uint32(0x3F800000), jnp.float32)
    return jnp.maximum(-limit, (from_one_to_two - 1) * (limit + limit) - limit)
