"""Every random number as a function of (seed, purpose, epoch, step), or of (seed, row)."""

import dataclasses
import enum
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, PRNGKeyArray, PyTree, UInt32

from logvar.backend.ops import standard_normal


class Purpose(enum.IntEnum):
    """The purpose of a random number; each purpose has its own stream."""

    WEIGHTS = 0
    SPLIT = 1
    ORDER = 2
    NOISE = 3
    BINARIZATION = 4
    EVALUATION = 5
    IMPORTANCE = 6
    SAMPLE = 7
    STATIC_BINARIZATION = 8
    OBJECTIVE = 9
    PRIOR = 10
    IMPUTATION = 11
    MISSING = 12
    CLASSIFIER = 13
    LABEL = 14
    GIVEN = 15
    POSTERIOR = 20
    DRAWN = 21
    SAMPLER = 22
    AGGREGATE = 23
    SUMMARY = 24


_GENERATOR = "threefry2x32"
"""Fixed, whatever JAX's default generator is, so that a seed means the same everywhere."""


def stream(
    seed: int | Integer[Array, ""], purpose: Purpose, *position: int | Integer[Array, ""]
) -> PRNGKeyArray:
    """Return the JAX key of a purpose at a position, such as (epoch, step)."""
    key = jax.random.fold_in(jax.random.key(seed, impl=_GENERATOR), int(purpose))
    for index in position:
        key = jax.random.fold_in(key, index)
    return key


def host_stream(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """Return a NumPy generator for a purpose at a position, for work on the host."""
    entropy = [seed, int(purpose), *position]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def row_words(rows: np.ndarray) -> UInt32[np.ndarray, "rows 2"]:
    """Return a 64-bit fingerprint of each row's bytes, as two words to fold into a key.

    Evaluation noise is keyed by it rather than by position, so a row's score depends neither on
    the order of the rows nor on the other rows.
    """
    contiguous = np.ascontiguousarray(rows)
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in contiguous)
    return np.frombuffer(digests, "<u4").reshape(len(rows), 2).astype(np.uint32)


def row_key(
    seed: int | Integer[Array, ""], purpose: Purpose, words: UInt32[Array, "2"]
) -> PRNGKeyArray:
    """Return the key of one row."""
    return jax.random.fold_in(jax.random.fold_in(stream(seed, purpose), words[0]), words[1])


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A leaf of the noise that a draw needs: standard normal numbers of this shape."""

    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Key:
    """A leaf of the noise that a draw needs: a key, if normal numbers are not enough."""


def noise(like: PyTree, key: PRNGKeyArray, leading: tuple[int, ...] = ()) -> PyTree:
    """Return noise structured like `like`, a tree of `Gaussian` and `Key`.

    The first leaf is drawn from the key itself, leaf i > 0 from the key with i folded in.

    Args:
        like: from `Model.noise_like`.
        key: the key for all leaves.
        leading: leading axes of each leaf, such as (batch, samples).
    """
    leaves, tree = jax.tree.flatten(like)
    drawn = [
        _leaf(leaf, key if i == 0 else jax.random.fold_in(key, i), leading)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, drawn)


def _leaf(leaf: Gaussian | Key, key: PRNGKeyArray, leading: tuple[int, ...]) -> Array:
    if isinstance(leaf, Key):
        return jax.random.split(key, leading) if leading else key
    return standard_normal(key, (*leading, *leaf.shape))


def row_noise(
    seed: int | Integer[Array, ""], words: UInt32[Array, "2"], n_samples: int, like: PyTree
) -> PyTree:
    """Return noise (n_samples, …) of a row, shaped like `like`; sample j is the same for any n."""
    key = row_key(seed, Purpose.EVALUATION, words)
    keys = jax.vmap(lambda j: jax.random.fold_in(key, j))(jnp.arange(n_samples))
    return jax.vmap(lambda k: noise(like, k))(keys)
