"""Which devices train a run together, and which runs cannot be divided among any."""

from collections.abc import Callable

import jax

from logvar.errors import LogvarError
from logvar.models.vae import VAEModel
from logvar.objectives import Objective
from logvar.processes.placement import Placement, several
from logvar.training.step import Fixed


def placement_for(
    name: str, objective: Objective, model: VAEModel, fixed: Fixed, tell: Callable[[str], None]
) -> Placement | None:
    """Return the devices that train together: all of all processes; None if it is one.

    In one process, devices that cannot take part are left out, and `tell` is told why.

    Args:
        name: what the recipe calls the objective.
        objective: the objective.
        model: the model.
        fixed: the size of a batch, and its shards.
        tell: called with a line.

    Raises:
        LogvarError: the batch does not divide among several processes, or into its shards.
    """
    whole = why_whole(name, objective, model)
    if whole is not None and (fixed.shards > 1 or several()):
        remedies = ["one process"] if several() else []
        remedies += ["shards=1 (without --exact)"] if fixed.shards > 1 else []
        raise LogvarError(
            f"a batch cannot be divided, because {whole}: use {' and '.join(remedies)}"
        )
    devices = jax.devices() if several() else jax.local_devices()
    what, number = "batch_size", fixed.batch_size
    if fixed.shards > 1:
        what, number = "shards", fixed.shards
    if several():
        if number % len(devices):
            raise LogvarError(
                f"{what} {number} does not divide among the {len(devices)} devices of "
                f"{jax.process_count()} processes: use a multiple of {len(devices)}, or another "
                "number of processes"
            )
        return Placement.of(devices)
    used = max(n for n in range(1, len(devices) + 1) if number % n == 0)
    if whole is not None:
        used = 1
    if used < len(devices):
        reason = whole or f"{what} {number} does not divide among more"
        tell(f"training on {used} of {len(devices)} devices: {reason}")
    return Placement.of(devices[:used]) if used > 1 else None


def why_whole(name: str, objective: Objective, model: VAEModel) -> str | None:
    """Return why the rows of a batch must be seen together; None if they need not."""
    if model.likelihood.has_statistic:
        return "a noise in closed form is fitted to the whole batch"
    if not (objective.averages_rows and _declared_for_its_loss(type(objective))):
        return f"objective {name!r} is no mean over the rows"
    return None


def _declared_for_its_loss(kind: type[Objective]) -> bool:
    """Return whether a class that replaces the loss of another says itself that it is a mean."""
    order = kind.__mro__
    declared = next(i for i, c in enumerate(order) if "averages_rows" in vars(c))
    return declared <= next(i for i, c in enumerate(order) if "__call__" in vars(c))
