"""Shared by objectives that compare the rows of a batch with each other.

In all of them a row of weight 0, such as padding, takes no part.
"""

from jaxtyping import Array, Float

from logvar.errors import LogvarError
from logvar.objectives.base import Objective, PerExample
from logvar.posteriors.base import Posterior


def shares(weight: PerExample) -> PerExample:
    """Return the weights divided by their sum."""
    return weight / weight.sum()


def covariance(
    z: Float[Array, "batch latent"], weight: PerExample
) -> Float[Array, "latent latent"]:
    """Return the weighted covariance, divided by the sum of the weights."""
    share = shares(weight)
    centred = z - share @ z
    return (share[:, None] * centred).T @ centred


def check_independent(name: str, posterior: Posterior) -> None:
    """Check that a posterior's latents are independent.

    Raises:
        LogvarError: they are not, or are not known to be.
    """
    if not posterior.independent:
        raise LogvarError(
            f"objective {name!r} reads the density of each latent by itself, and the latents of "
            f"posterior {type(posterior).__name__} depend on each other: use posterior='diagonal'"
        )


def check_real(name: str, posterior: Posterior) -> None:
    """Check that latents can be shuffled each by itself.

    Raises:
        LogvarError: they lie on a set that this leaves.
    """
    if posterior.support != "real":
        raise LogvarError(
            f"objective {name!r} shuffles each latent by itself, which leaves the "
            f"{posterior.support} that posterior {type(posterior).__name__} lies on: use "
            "posterior='diagonal'"
        )


def check_batches(objective: Objective, name: str, rows: int, batch_size: int) -> None:
    """Check that no batch has a single row, if the objective compares rows.

    Raises:
        LogvarError: one has.
    """
    if not objective.compares_rows or (batch_size > 1 and rows % batch_size != 1):
        return
    if rows == 1:
        what, remedy = "there is 1 training row", "give more rows, or objective='elbo'"
    elif batch_size == 1:
        what, remedy = "batch_size is 1", "use a batch_size of at least 2"
    else:
        what = f"the last of {rows:,} rows is alone in a batch of {batch_size}"
        remedy = f"use batch_size={_fitting(rows, batch_size)}"
    raise LogvarError(
        f"objective {name!r} compares the rows of a batch with each other, and {what}: {remedy}"
    )


def _fitting(rows: int, batch_size: int) -> int:
    """Return the nearest batch size that leaves no row alone."""
    return next(
        size
        for distance in range(1, rows)
        for size in (batch_size - distance, batch_size + distance)
        if size > 1 and rows % size != 1
    )
