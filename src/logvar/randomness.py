"""Every random number as a function of (seed, purpose, epoch, step), or of (seed, row)."""

import enum
import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Integer, PRNGKeyArray, UInt32

from logvar.native.library import in_use
from logvar.native.normal import normal


class Purpose(enum.IntEnum):
    """What a random number is for; each purpose has a stream of its own."""

    WEIGHTS = 0
    SPLIT = 1
    ORDER = 2
    NOISE = 3
    BINARIZATION = 4
    EVALUATION = 5
    IMPORTANCE = 6
    SAMPLE = 7
    STATIC_BINARIZATION = 8


_GENERATOR = "threefry2x32"
"""Whatever generator JAX is set to by default, so that a seed means the same everywhere."""


def stream(
    seed: int | Integer[Array, ""], purpose: Purpose, *position: int | Integer[Array, ""]
) -> PRNGKeyArray:
    """The JAX key of a purpose at a position, such as (epoch, step)."""
    key = jax.random.fold_in(jax.random.key(seed, impl=_GENERATOR), int(purpose))
    for index in position:
        key = jax.random.fold_in(key, index)
    return key


def fold_in(key: PRNGKeyArray, data: Integer[Array, ""]) -> PRNGKeyArray:
    """`jax.random.fold_in`, the same number by number, in a form that suits a step's loop."""
    words = _threefry(jax.random.key_data(key), jnp.zeros((), jnp.uint32), data.astype(jnp.uint32))
    return jax.random.wrap_key_data(jnp.stack(words), impl=_GENERATOR)


def standard_normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """`jax.random.normal` in float32, the same number by number but for rounding, as one pass.

    On a CPU JAX writes the rounds of its generator as a loop, and XLA runs each as a handful of
    programs: 110 µs for the noise of a step, nearly all of it the calls. Written out, they are one,
    and its numbers the same bit by bit; a kernel of our own takes 1 ns for a number instead of 12.
    """
    if in_use():
        return normal(jax.random.key_data(key), math.prod(shape)).reshape(shape)
    count = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    high, low = _threefry(jax.random.key_data(key), jnp.zeros_like(count), count)
    # The bits of a number in [1, 2), then (−1, 1) without −1, as jax.random.uniform makes them.
    bits = ((high ^ low) >> np.uint32(9)) | np.uint32(0x3F800000)
    unit = lax.bitcast_convert_type(bits, jnp.float32) - np.float32(1)
    least = np.nextafter(np.float32(-1), np.float32(0))
    uniform = unit * (np.float32(1) - least) + least
    return np.float32(np.sqrt(2)) * lax.erf_inv(uniform)


def _threefry(key: UInt32[Array, "2"], high: Array, low: Array) -> tuple[Array, Array]:
    """Threefry-2x32 in 20 rounds: Salmon et al. 2011, Parallel random numbers, SC11."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = high + keys[0], low + keys[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x = x + y
            y = ((y << np.uint32(distance)) | (y >> np.uint32(32 - distance))) ^ x
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def host_stream(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """A NumPy generator of a purpose at a position, for what happens on the host."""
    entropy = [seed, int(purpose), *position]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def row_words(rows: np.ndarray) -> UInt32[np.ndarray, "rows 2"]:
    """A 64-bit fingerprint of each row's own bytes, as two words to fold into a key.

    Evaluation noise is keyed by it rather than by position, so a row's score depends neither on
    the order of the rows nor on which others are scored with it.
    """
    contiguous = np.ascontiguousarray(rows)
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in contiguous)
    return np.frombuffer(digests, "<u4").reshape(len(rows), 2).astype(np.uint32)


def row_key(
    seed: int | Integer[Array, ""], purpose: Purpose, words: UInt32[Array, "2"]
) -> PRNGKeyArray:
    """The key of one row."""
    return fold_in(fold_in(stream(seed, purpose), words[0]), words[1])


def row_noise(
    seed: int | Integer[Array, ""],
    words: UInt32[Array, "2"],
    n_samples: int,
    latent_dim: int,
) -> Array:
    """Standard normal noise (n_samples, latent) of one row; sample j is the same for any n."""
    key = row_key(seed, Purpose.EVALUATION, words)
    keys = jax.vmap(lambda j: fold_in(key, j))(jnp.arange(n_samples))
    return jax.vmap(lambda k: standard_normal(k, (latent_dim,)))(keys)
