"""A batch in parts: what each device computes of a step, and how the parts are added.

A loss that is a weighted mean over rows has Σ wᵢ·gᵢ / Σ wᵢ as its gradient, over parts i with the
sums of weights wᵢ. There are two ways to divide a batch.

- Among devices. All of them draw the noise of the whole batch and keep that of their own rows, so
  the sum is that of one device, but for its rounding: it is added in an order that depends on the
  number of devices.
- Into `shards`, a power of two, whatever the number of devices. Each shard has its own noise; a
  device computes its shards one after another, by one program whose shapes are those of a shard.
  Neighbours are added in pairs, their sums in pairs, and so on. A device has 2ᵏ successive shards,
  which is a subtree of that order, so any number of devices that divides the shards ends with the
  same bytes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from logvar.data.preparation import Preparation
from logvar.models.batch import Batch
from logvar.processes.placement import AXIS
from logvar.randomness import noise

Flat = Float[Array, "numbers"]


class Part(NamedTuple):
    """Successive rows of each batch: number `index` of `of` equal parts."""

    index: Any
    """An integer, or an array inside a compiled program."""
    of: int


WHOLE = Part(0, 1)


def part_of_this_device(devices: int) -> Part:
    """Return the part of each batch that a device computes."""
    return Part(lax.axis_index(AXIS), devices) if devices > 1 else WHOLE


class Drawing(NamedTuple):
    """How the random numbers of a batch are drawn."""

    preparation: Preparation
    like: PyTree
    """The noise of one draw, from `Model.noise_like`."""
    samples: int
    shards: int
    """1, or the number of parts that have random numbers of their own."""

    def of(
        self, stored: Batch, binarization: PRNGKeyArray, key: PRNGKeyArray, part: Part
    ) -> tuple[Batch, PyTree]:
        """Return a part of a batch as the model sees it, and its noise.

        Args:
            stored: the rows of the part.
            binarization: the key of the step for what is drawn of the rows themselves.
            key: that of the noise.
            part: which part it is.
        """
        if self.shards == 1:
            return self._within_batch(stored, binarization, key, part)
        if part.of == self.shards:
            return self._drawn(stored, *_folded(part.index, binarization, key))
        split = jax.tree.map(lambda leaf: leaf.reshape(self.shards, -1, *leaf.shape[1:]), stored)
        of_shard = jax.vmap(lambda rows, i: self._drawn(rows, *_folded(i, binarization, key)))
        found = of_shard(split, jnp.arange(self.shards))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)

    def _drawn(
        self, stored: Batch, binarization: PRNGKeyArray, key: PRNGKeyArray
    ) -> tuple[Batch, PyTree]:
        batch = self.preparation.batch(stored, binarization)
        return batch, noise(self.like, key, (len(stored), self.samples))

    def _within_batch(
        self, stored: Batch, binarization: PRNGKeyArray, key: PRNGKeyArray, part: Part
    ) -> tuple[Batch, PyTree]:
        """Draw for the whole batch, and keep what belongs to the part."""
        if part.of == 1:
            return self._drawn(stored, binarization, key)
        rows = len(stored)
        first = part.index * rows
        cut = functools.partial(lax.dynamic_slice_in_dim, start_index=first, slice_size=rows)
        eps = jax.tree.map(cut, noise(self.like, key, (rows * part.of, self.samples)))
        if not self.preparation.draws:
            return self.preparation.batch(stored, binarization), eps
        others = functools.partial(_among_others, part=part)
        whole = self.preparation.batch(jax.tree.map(others, stored), binarization)
        return jax.tree.map(cut, whole), eps


def _among_others(leaf: Array, part: Part) -> Array:
    """Return the rows of a part at their places in a batch of zeros."""
    if part.of == 1:
        return leaf
    batch = jnp.zeros((len(leaf) * part.of, *leaf.shape[1:]), leaf.dtype)
    return lax.dynamic_update_slice_in_dim(batch, leaf, part.index * len(leaf), axis=0)


def _folded(index: int | Int[Array, ""], *keys: PRNGKeyArray) -> list[PRNGKeyArray]:
    return [jax.random.fold_in(key, index) for key in keys]


MeanOf = Callable[[Batch, Part], PyTree]
"""Returns means over the rows of a part."""


def mean_over_parts(
    mean_of: MeanOf, batch: Batch, shards: int, devices: int, zero: Int[Array, ""]
) -> tuple[PyTree, Float[Array, ""]]:
    """Return the weighted mean over all parts of a batch, and the sum of the weights.

    Args:
        mean_of: of one part.
        batch: the rows of this device.
        shards: 1, or how many parts are added in the fixed order.
        devices: the number of devices, each with as many rows.
        zero: 0, as an input of the program: its compiler must not know how often a loop runs,
            because it computes a loop that runs once by other instructions.
    """
    unravelled: list[Callable[[Flat], PyTree]] = []

    def weighted(rows: Batch, part: Part) -> Flat:
        """Return the sums over a part as one array, because devices add one array at a time."""
        weight = jnp.sum(rows.weights)
        flat, back = ravel_pytree(mean_of(rows, part))
        unravelled.append(back)
        # A part that is all padding has no mean.
        return jnp.append(jnp.where(weight > 0, weight * flat, 0.0), weight)

    if shards == 1:
        total = lax.psum(weighted(batch, part_of_this_device(devices)), AXIS)
    else:
        each = shards // devices
        rows = len(batch) // each
        part = part_of_this_device(devices)
        batch = jax.tree.map(functools.partial(_among_others, part=part), batch)

        def shard(i: Int[Array, ""]) -> Flat:
            def taken() -> tuple[Batch, Int[Array, ""]]:
                index = part.index * each + i
                cut = functools.partial(
                    lax.dynamic_slice_in_dim, start_index=index * rows, slice_size=rows
                )
                return jax.tree.map(cut, batch), index

            of_shard, index = _apart(taken, zero)
            return weighted(of_shard, Part(index, shards))

        total = _of_all_devices(_in_pairs(shard, each, shards, zero), devices)
        count = total[-1]
        # A compiler divides by a scalar, or multiplies by its inverse, as suits what is around it.
        inverse = _apart(lambda: 1 / count, zero)
        mean = _apart(lambda: total[:-1] * inverse, zero)
        return unravelled[0](mean), _apart(lambda: count, zero)
    return unravelled[0](total[:-1] / total[-1]), total[-1]


def _in_pairs(
    term: Callable[[Int[Array, ""]], Flat], terms: int, most: int, zero: Int[Array, ""]
) -> Flat:
    """Return the sum of 2ᵏ terms, in pairs, with at most k + 1 of them in memory.

    sums[l] is a sum of 2ˡ terms that waits for its neighbour, as in a binary counter.
    """
    levels = most.bit_length()
    shape = jax.eval_shape(term, zero)

    def body(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        i, sums = carry

        def waits(pair: tuple[Array, Flat]) -> Array:
            return (i >> pair[0]) & 1 == 1

        def added(pair: tuple[Array, Flat]) -> tuple[Array, Flat]:
            return pair[0] + 1, sums[pair[0]] + pair[1]

        level, found = lax.while_loop(waits, added, (jnp.zeros_like(i), term(i)))
        return i + 1, sums.at[level].set(found)

    start = zero, jnp.zeros((levels, *shape.shape), shape.dtype)
    _, sums = lax.while_loop(lambda carry: carry[0] < terms + zero, body, start)
    return sums[terms.bit_length() - 1]


def _apart(function: Callable[[], PyTree], zero: Int[Array, ""]) -> PyTree:
    """Return what a function returns, from a loop that runs once.

    A compiler merges no instructions of a loop with those that follow it, which then round alike
    whatever the loop computes from: one device or several, and however many rows.
    """
    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function))
    once = lax.while_loop(
        lambda carry: carry[0] < 1 + zero, lambda carry: (carry[0] + 1, function()), (zero, start)
    )
    return once[1]


def _of_all_devices(total: Flat, devices: int) -> Flat:
    """Add the sums of neighbouring devices, then of neighbouring pairs, and so on.

    a + b is b + a to the bit, so all devices end with the same sum.
    """
    apart = 1
    while apart < devices:
        pairs = [(i, i ^ apart) for i in range(devices)]
        total = total + lax.ppermute(total, AXIS, pairs)
        apart *= 2
    return total
