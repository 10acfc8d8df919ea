"""The columns of the encoder's last layer that output raw scales, and changes to them.

Matching, the first σ, conversion and the share of the gradient all act on these columns.
"""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from logvar.backend.compiling import from_host
from logvar.networks.layers import Dense

PerColumn = Float[np.ndarray, "columns"]


@dataclasses.dataclass(frozen=True, eq=False)
class ScaleHead:
    """The last layer of an encoder, which outputs raw scales, among others.

    Args:
        is_raw: which of the layer's outputs are raw scales.
    """

    is_raw: Bool[np.ndarray, "columns"]

    def layer(self, tree: PyTree) -> Any:
        """Return the layer in a model, or in a tree of the same structure."""
        return tree.encoder.head

    def with_arrays(self, tree: PyTree, kernel: Any, bias: Any) -> PyTree:
        """Return the tree with another kernel and bias in that layer."""
        return eqx.tree_at(
            lambda tree: (self.layer(tree).kernel, self.layer(tree).bias), tree, (kernel, bias)
        )

    def per_column(self, of_raw: Any, otherwise: float) -> PerColumn:
        """Return a number per column: `of_raw` for raw scales (one number or one each), or else."""
        columns = np.full(len(self.is_raw), otherwise)
        columns[self.is_raw] = of_raw
        return columns

    def changed(self, tree: PyTree, factor: Any, offset: Any = 0.0) -> PyTree:
        """Return the tree with each raw output r replaced by factor·r + offset."""
        layer = self.layer(tree)
        factors = self.per_column(factor, 1.0).astype(layer.bias.dtype)
        offsets = self.per_column(offset, 0.0).astype(layer.bias.dtype)
        kernel = layer.kernel * factors
        return self.with_arrays(tree, kernel, layer.bias * factors + offsets)

    def raw_of(self, tree: PyTree) -> tuple[Array, Array]:
        """Return kernel and bias of the raw scales alone."""
        layer, which = self.layer(tree), np.flatnonzero(self.is_raw)
        return layer.kernel.take(which, axis=1), layer.bias[which]


def scale_head(model: Any) -> ScaleHead | None:
    """Return the encoder's head for the posterior's scale.

    None if the encoder's last layer is not one matrix, as in most of the users' own networks.
    """
    head = getattr(model.encoder, "head", None)
    heads = model.posterior.heads(model.latent_dim)
    if not isinstance(head, Dense) or head.bias.shape != (sum(heads.values()),):
        return None
    is_raw = np.concatenate([np.full(size, name == "raw") for name, size in heads.items()])
    return ScaleHead(is_raw)


def with_later_heads_at_zero(encoder: Any, heads: dict[str, int]) -> Any:
    """Set the heads after mean and raw of a built-in encoder to output 0 for every example."""
    first = heads["mean"] + heads["raw"]
    layer = getattr(encoder, "head", None)
    if not isinstance(layer, Dense) or layer.bias.shape[0] == first:
        return encoder
    keep = (np.arange(layer.bias.shape[0]) < first).astype(np.float32)
    kernel = from_host(np.asarray(layer.kernel) * keep)
    return eqx.tree_at(lambda encoder: encoder.head.kernel, encoder, kernel)
