"""Networks as training computes them: at a precision, and with fast forms of gradients.

With bfloat16 the factors of the networks' matrix products, forward and backward, are rounded to
bfloat16 and the products summed in float32 (Kalamkar et al. 2019, arXiv 1905.12322). Weights,
activations, losses and the optimizer stay float32. Evaluation and scores never use bfloat16.

An accelerator does this if a product asks for it (`lax.DotAlgorithmPreset.BF16_BF16_F32`). XLA on
CPU ignores the request, so there the layers round the factors themselves (`products`). Users' own
networks do not, so they are refused at this precision on a CPU.
"""

import contextlib
import enum
from typing import Any

import equinox as eqx
import jax
from jax import lax
from jaxtyping import Array, Float

from logvar.backend import extension
from logvar.backend.products import training_products

BFLOAT16_PRODUCT = lax.DotAlgorithmPreset.BF16_BF16_F32
"""The request of a product to be computed in bfloat16."""


class Precision(enum.Enum):
    """The dtype that the factors of a network's products are rounded to in training."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def products_round_on_request() -> bool:
    """Return whether a product that asks for bfloat16 gets it, in any layer."""
    return jax.default_backend() != "cpu" or extension.in_use().rounds_on_request()


class TrainingNetwork(eqx.Module):
    """A network for one example that is mapped over a batch and differentiated in training."""

    network: Any
    precision: Precision = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> Any:
        asks = self.precision is Precision.BFLOAT16
        on_request = asks and products_round_on_request()
        request: Any = contextlib.nullcontext()
        if on_request:
            request = jax.default_matmul_precision(BFLOAT16_PRODUCT.name)
        with training_products(rounded=asks and not on_request), request:
            return self.network(x)


def in_training(model: Any, precision: Precision) -> Any:
    """Return the model with its networks as training computes them."""

    def networks(model: Any) -> tuple[Any, ...]:
        return tuple(getattr(model, name) for name in model.networks)

    wrapped = tuple(TrainingNetwork(network, precision) for network in networks(model))
    return eqx.tree_at(networks, model, wrapped)
