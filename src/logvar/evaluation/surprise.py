"""How odd a cell is: its log-probability given the row's others, compared with what is usual.

log p(x_j | the others) of an integer with a wide range is far below that of a binary column, for
every row. So a cell is as odd as it is less probable than cells of its column usually are.
"""

import numpy as np
from jaxtyping import Float

from logvar.data.examples import Examples
from logvar.data.preparation import Preparation
from logvar.evaluation.imputation import cell_log_likelihood
from logvar.models.vae import VAEModel

ROWS, DRAWS = 512, 100
"""Rows drawn from the model, and draws of z for each of them, to find what is usual."""


def usual_log_likelihood(
    model: VAEModel, drawn: Examples, preparation: Preparation, seed: int
) -> Float[np.ndarray, "..."]:
    """Return the mean of log p(x_j | the others) over rows drawn from the model itself, nats.

    Args:
        model: the model.
        drawn: rows from the model, as it reads them.
        preparation: how they become inputs.
        seed: the seed of the noise.
    """
    return cell_log_likelihood(model, drawn, preparation, seed, DRAWS).mean(0)
