"""Rows that float32 cannot score: the same formulas in float64, for those rows alone.

A row at u standard deviations has a log-density of −u²/2, which leaves float32 at u = 2e19, and its
importance samples differ by less than float32 can resolve. The encoder reads a copy of the row that
is clipped to the training range (`logvar.data.examples`), so its networks compute in float32 as for
any other row. Everything after the networks (likelihood, KL, sums) is in float64.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from logvar.data.examples import Examples
from logvar.evaluation.blocks import in_blocks
from logvar.models.batch import Batch
from logvar.models.vae import VAEModel
from logvar.networks.base import Network
from logvar.posteriors.base import Code


class Wide(eqx.Module):
    """A model in float64 around networks that compute in float32."""

    model: VAEModel
    safe: Float[np.ndarray | Array, "2"]
    """The raw outputs for which σ² is a positive float32, so that z is a float32, too."""

    @classmethod
    def of(cls, model: VAEModel) -> "Wide":
        """Return the model in float64, to be used where float64 is enabled."""
        safe = np.asarray(model.scale.safe_range(jnp.float32), np.float64)
        parts = model.prior, model.likelihood, model.posterior
        arrays, rest = eqx.partition(parts, eqx.is_inexact_array)
        wide = jax.tree.map(lambda array: np.asarray(array, np.float64), arrays)
        prior, likelihood, posterior = eqx.combine(wide, rest)
        whole = VAEModel(
            encoder=_InFloat32(model.encoder),
            decoder=_InFloat32(model.decoder),
            prior=prior,
            likelihood=likelihood,
            posterior=posterior,
            latent_dim=model.latent_dim,
            missing=model.missing,
            condition_size=model.condition_size,
        )
        return cls(whole, safe)

    def encode(self, example: Batch) -> Code:
        """Return the encoder's outputs, with raw ones clipped to the safe range."""
        code = {k: v.astype(jnp.float64) for k, v in self.model.encode(example).items()}
        return code | {"raw": jnp.clip(code["raw"], *self.safe)}


class _InFloat32(eqx.Module):
    network: Network

    def __call__(self, z: Array) -> Any:
        outputs = self.network(z.astype(jnp.float32))
        return jax.tree.map(lambda array: array.astype(jnp.float64), outputs)


def in_float64(
    function: Callable, arguments: PyTree, examples: Examples, which: np.ndarray, *more: PyTree
) -> PyTree:
    """Return function(arguments, seen, words, actual, *more) of some rows, in blocks, in NumPy.

    Args:
        function: as for `in_blocks`.
        arguments: passed to every block.
        examples: all rows.
        which: the rows to apply it to.
        more: further trees of arrays with one entry for each of those rows.
    """
    seen = examples.stored[which]
    actual = dataclasses.replace(seen, x=examples.as_they_are(which))
    with jax.enable_x64(True):
        return in_blocks(function, arguments, seen, examples.words[which], actual, *more)


def to_repeat(examples: Examples, scores: np.ndarray) -> np.ndarray:
    """Return the rows outside the training range and those whose scores are not finite."""
    return np.union1d(examples.outside, np.flatnonzero(~np.isfinite(scores)))


def in_dtype(noise: PyTree, dtype: Any) -> PyTree:
    """Return noise in the dtype of the rows; keys are unchanged."""
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, noise
    )
