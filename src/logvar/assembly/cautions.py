"""Cautions about a run, given before it trains."""

from logvar.objectives.base import Objective
from logvar.recipe import Recipe


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
