"""The shape of what the encoder reads, and training rows at which pseudo-inputs start."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from logvar.backend.sparse import Rows, array_of
from logvar.data.preparation import Preparation
from logvar.likelihoods import Likelihood
from logvar.models.vae import with_condition, with_mask
from logvar.priors import EncoderInputs
from logvar.randomness import Purpose, host_stream, stream


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """The training rows that a model may start at; none if its weights will be loaded."""

    count: int = 0
    rows: Callable[[np.ndarray], Rows] | None = None
    """Returns the rows of some indices as the model stores them, before the preparation."""
    preparation: Preparation | None = None
    """The preparation of each batch."""


def encoder_inputs(
    likelihood: Likelihood,
    shape: tuple[int, ...],
    training: TrainingRows | None,
    seed: int,
    condition_size: int = 0,
) -> EncoderInputs | None:
    """Return what the encoder reads; None if there are neither rows nor a condition.

    Args:
        likelihood: makes one-hot codes of categories, for instance.
        shape: of one example as the encoder reads it.
        training: the training rows.
        seed: of the run, which chooses rows.
        condition_size: the number of values that the model is told of each example.
    """
    if training is None and not condition_size:
        return None
    found = EncoderInputs(shape, likelihood.reads_intensities, condition_size=condition_size)
    if training is None or training.rows is None or training.preparation is None:
        return found
    take, preparation = training.rows, training.preparation

    def rows(count: int) -> Float[Array, "some ..."]:
        chosen = host_stream(seed, Purpose.PRIOR).choice(training.count, count, replace=False)
        key = stream(seed, Purpose.PRIOR, 1)
        x, observed = preparation.parts(jnp.asarray(array_of(take(chosen))), key)
        return jax.vmap(likelihood.encoder_input)(x, observed)

    return found._replace(available=training.count, rows=rows)


def encoder_shape(
    likelihood: Likelihood, shape: tuple[int, ...], missing: bool, condition_size: int = 0
) -> tuple[int, ...]:
    """Return the shape of what the encoder reads, with mask and condition if there are any."""
    if not missing and not condition_size:
        return likelihood.encoder_shape(shape)

    def read(x: Array) -> Array:
        observed = jnp.ones(x.shape, bool)
        seen = likelihood.encoder_input(x, observed if missing else None)
        if missing:
            seen = with_mask(seen, likelihood.cells(observed))
        return with_condition(seen, jnp.zeros(condition_size)) if condition_size else seen

    x = jax.ShapeDtypeStruct(likelihood.example_shape(shape), jnp.float32)
    return jax.eval_shape(read, x).shape
