"""Every random number as a function of (seed, purpose, epoch, step), or of (seed, row)."""

import enum
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, PRNGKeyArray, UInt32

from logvar.backend.ops import standard_normal


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
    return jax.random.fold_in(jax.random.fold_in(stream(seed, purpose), words[0]), words[1])


def row_noise(
    seed: int | Integer[Array, ""],
    words: UInt32[Array, "2"],
    n_samples: int,
    latent_dim: int,
) -> Array:
    """Standard normal noise (n_samples, latent) of one row; sample j is the same for any n."""
    key = row_key(seed, Purpose.EVALUATION, words)
    keys = jax.vmap(lambda j: jax.random.fold_in(key, j))(jnp.arange(n_samples))
    return jax.vmap(lambda k: standard_normal(k, (latent_dim,)))(keys)
