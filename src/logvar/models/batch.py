"""The input of a model: a batch of examples, or one example."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Batch(eqx.Module):
    """Examples as a pytree with a leading axis of rows; without that axis, a single example.

    Missing fields are None, so a batch of images uses the same program whether or not other models
    use masks, conditions or weights.
    """

    x: Any
    """(rows, *shape); missing cells hold a placeholder."""
    observed: Any = None
    """Structured like x: which cells are observed; None if all are."""
    condition: Any = None
    """The condition of each example, for a conditional model."""
    label: Any = None
    """The labels, for a semi-supervised model."""
    weight: Float[Array | np.ndarray, "*rows"] | None = None
    """(rows,) how much each example counts: 0 for padding, otherwise its sample weight."""

    @property
    def weights(self) -> Any:
        """The weights; 1 for each example if none were given."""
        if self.weight is not None:
            return self.weight
        return jnp.ones(len(jax.tree.leaves(self.x)[0]), jnp.float32)

    def __getitem__(self, rows: Any) -> "Batch":
        """Return the rows of an index, a slice or a mask."""
        return jax.tree.map(lambda leaf: leaf[rows], self)
