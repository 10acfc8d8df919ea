"""Training rows as the encoder reads them, for priors whose pseudo-inputs start there."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float

from logvar.data.preparation import Preparation
from logvar.likelihoods import Likelihood
from logvar.priors import EncoderInputs
from logvar.randomness import Purpose, host_stream, stream


@dataclasses.dataclass(frozen=True)
class Start:
    """The training rows that a model may start at; none if its weights will be loaded."""

    count: int = 0
    rows: Callable[[np.ndarray], np.ndarray] | None = None
    """Returns the rows of some indices as the model stores them, before the preparation."""
    preparation: Preparation | None = None
    """What is left to do for each batch."""


def encoder_inputs(
    likelihood: Likelihood, shape: tuple[int, ...], start: Start | None, seed: int
) -> EncoderInputs | None:
    """Return what the encoder reads, without mask and condition; None if there are no rows.

    Args:
        likelihood: makes one-hot codes of categories, for instance.
        shape: of one example as the encoder reads it.
        start: the training rows.
        seed: of the run, which chooses rows.
    """
    if start is None:
        return None
    take, preparation = start.rows, start.preparation
    if take is None or preparation is None:
        return EncoderInputs(shape, likelihood.reads_intensities)

    def rows(count: int) -> Float[Array, "some ..."]:
        chosen = host_stream(seed, Purpose.PRIOR).choice(start.count, count, replace=False)
        key = stream(seed, Purpose.PRIOR, 1)
        x, observed = preparation.parts(jax.numpy.asarray(take(chosen)), key)
        return jax.vmap(likelihood.encoder_input)(x, observed)

    return EncoderInputs(shape, likelihood.reads_intensities, start.count, rows)
