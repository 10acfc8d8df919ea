"""What a model reads: a batch of examples, or one of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Batch(eqx.Module):
    """Examples as a pytree with rows first; without that axis, a single example.

    What is not there is None, so a batch of images is the same program whether or not others have
    masks, conditions or weights.
    """

    x: Any
    """(rows, *shape), or a tree by kind of column."""
    observed: Any = None
    """Of the form of x: which cells are observed."""
    condition: Any = None
    """What a conditional model is given."""
    label: Any = None
    """What a semi-supervised model may be told."""
    weight: Float[Array | np.ndarray, "*rows"] | None = None
    """How much each example counts: 0 for padding, otherwise its sample weight."""

    @property
    def weights(self) -> Any:
        """The weights, 1 for each example where there are none."""
        if self.weight is not None:
            return self.weight
        return jnp.ones(len(jax.tree.leaves(self.x)[0]), jnp.float32)

    def __getitem__(self, rows: Any) -> "Batch":
        """The rows of an index, a slice or a mask."""
        return jax.tree.map(lambda leaf: leaf[rows], self)
