"""The input of a model: a batch of examples, or one example."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from logvar.backend.sparse import Stored


class Batch(eqx.Module):
    """Examples as a pytree with a leading axis of rows; without that axis, a single example.

    Missing fields are None, so a batch of images uses the same program whether or not other models
    use masks, conditions or weights.
    """

    x: Any
    """(rows, *shape); missing cells hold a placeholder. Stored rows may be sparse."""
    observed: Any = None
    """Structured like x: which cells are observed; None if all are."""
    condition: Float[Array | np.ndarray, "*rows size"] | None = None
    """The condition of each example: levels as 0 and 1, and numbers."""
    label: Int[Array | np.ndarray, "*rows"] | None = None
    """The class of each example, for a model that learns to tell it; −1 where it is unknown."""
    weight: Float[Array | np.ndarray, "*rows"] | None = None
    """(rows,) how much each example counts: 0 for padding, otherwise its sample weight."""

    @property
    def weights(self) -> Any:
        """The weights; 1 for each example if none were given."""
        if self.weight is not None:
            return self.weight
        return jnp.ones(len(self), jnp.float32)

    def __len__(self) -> int:
        """The number of rows."""
        return len(jax.tree.leaves(self.x, is_leaf=_is_stored)[0])

    def __getitem__(self, rows: Any) -> "Batch":
        """Return the rows of an index, a slice or a mask."""
        return jax.tree.map(lambda leaf: leaf[rows], self, is_leaf=_is_stored)


def _is_stored(node: Any) -> bool:
    return isinstance(node, Stored)
