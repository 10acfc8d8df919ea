"""Cautions about a run, given before it trains, and one when it has stopped soon."""

from logvar.objectives.base import Objective
from logvar.recipe import Recipe

_SOON = 500
"""Optimizer steps. A network whose steps are about 1e-3 has hardly left its start by then."""


def cautions(recipe: Recipe, objective: Objective, rows: int, held_out: int) -> tuple[str, ...]:
    """Return a line for each setting or size that makes a run less than it seems.

    Args:
        recipe: the recipe of the run.
        objective: its objective.
        rows: how many rows train the model.
        held_out: how many rows are held out.

    Example:
        >>> from logvar.objectives import get
        >>> cautions(Recipe().replace(epochs=20), get("elbo(warmup=400)"), 900, 100)
        ('the warm-up of β takes 400 epochs and training ends after 20: β reaches 0.05',)
    """
    said = []
    if objective.settled_after > recipe.training.epochs:
        said.append(objective.unsettled(recipe.training.epochs))
    if rows == 1:
        said.append("the model is trained on 1 row: it can learn that row, and no spread of rows")
    if held_out == 1:
        said.append(
            "1 row is held out: figures on it are of that row alone, without a standard error, and "
            "so is the figure that stops training early"
        )
    return tuple(said)


def stopped_soon(ended: str, steps: int, held_out: int) -> tuple[str, ...]:
    """Return a line if training stopped early, and hardly began: patience counts epochs.

    Args:
        ended: how training ended.
        steps: the optimizer steps that were taken.
        held_out: the number of rows that judged each epoch.

    Example:
        >>> stopped_soon("stopped early", 62, 20)
        ('training stopped early after 62 optimizer steps, as 20 held-out rows judged, which is \
soon: if the fit is poor, raise patience (patience=200, --patience 200)',)
        >>> stopped_soon("stopped early", 6000, 20)
        ()
    """
    if ended != "stopped early" or steps >= _SOON:
        return ()
    return (
        f"training stopped early after {steps:,} optimizer steps, as {held_out:,} held-out rows "
        "judged, which is soon: if the fit is poor, raise patience (patience=200, --patience 200)",
    )
