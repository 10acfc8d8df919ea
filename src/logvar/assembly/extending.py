"""Widen a trained conditional model for levels that it has not seen, and train their weights alone.

This is how scArches maps new batches onto a reference model (Lotfollahi et al. 2022,
doi 10.1038/s41587-021-01001-7): the condition enters the first layers of encoder and decoder, so a
new level is one more row in each of their kernels, and everything else keeps its bytes.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from logvar.backend.compiling import from_host
from logvar.errors import LogvarError
from logvar.models.vae import VAEModel
from logvar.training.state import partition

Sources = Sequence[tuple[int, ...]]
"""For each value of the wider condition, the old values whose weights it starts from the mean of:
one for a value that stays, several for a new level."""


def extended(model: VAEModel, wider: VAEModel, sources: Sources) -> VAEModel:
    """Return the model with a wider condition; its old weights keep their bytes.

    Args:
        model: the trained model.
        wider: a model of the same parts built for the wider condition; its weights are not used.
        sources: where the weights of each value of the wider condition start.

    Raises:
        LogvarError: a network does not read the condition as the last inputs of one layer.
    """
    old, new = model.condition_size, wider.condition_size
    weights, _ = partition(model)
    shapes, rest = partition(wider)

    def widened(path: Any, leaf: Any, shape: Any) -> Any:
        axis = _grown(leaf.shape, shape.shape, new - old)
        if axis is None:
            if leaf.shape == shape.shape:
                return leaf
            raise LogvarError(
                f"the weights {jax.tree_util.keystr(path, simple=True, separator='.')} do not "
                "read the condition by themselves: a new level of it can be added to networks "
                "'mlp' of tables and 'conv' of images; fit without from_run"
            )
        array = np.moveaxis(np.asarray(leaf), axis, 0)
        others, told = array[: len(array) - old], array[len(array) - old :]
        grown = [told[list(at)].mean(0, dtype=np.float64).astype(array.dtype) for at in sources]
        return from_host(np.moveaxis(np.concatenate([others, np.stack(grown)]), 0, axis))

    arrays = _each(widened, weights, shapes)
    whole = eqx.combine(arrays, rest)  # the wider model's own shapes of images, the old weights
    return dataclasses.replace(
        model,
        encoder=whole.encoder,
        decoder=whole.decoder,
        prior=whole.prior,
        condition_size=new,
    )


def only_new(model: VAEModel, wider: VAEModel, sources: Sources) -> PyTree:
    """Return the coordinates in which nothing but the weights of new levels trains.

    A weight whose factor is 0 has a gradient and a step of exactly 0.
    """
    old, new = model.condition_size, wider.condition_size
    is_new = np.array([len(at) > 1 for at in sources], np.float32)

    def factor(path: Any, leaf: Any, grown: Any) -> Any:
        axis = _grown(leaf.shape, grown.shape, new - old)
        if axis is None:
            return from_host(np.zeros((), np.float32))
        factors = np.zeros(grown.shape[axis], np.float32)
        factors[-new:] = is_new
        shape = [1] * grown.ndim
        shape[axis] = -1
        return from_host(factors.reshape(shape))

    return _each(factor, partition(model)[0], partition(wider)[0])


def _each(function: Callable[[Any, Any, Any], Any], old: PyTree, new: PyTree) -> PyTree:
    """Return function(path, old leaf, new leaf) in the structure of the wider model."""
    paths, structure = jax.tree_util.tree_flatten_with_path(new)
    pairs = zip(paths, jax.tree.leaves(old), strict=True)
    return jax.tree.unflatten(structure, [function(path, a, b) for (path, b), a in pairs])


def _grown(old: tuple[int, ...], new: tuple[int, ...], by: int) -> int | None:
    """Return the axis along which a shape has grown by that much; None if it is not one."""
    if len(old) != len(new):
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    return axes[0] if len(axes) == 1 and new[axes[0]] - old[axes[0]] == by else None
