"""The list of objectives, for recipes, the command line, documentation and tests."""

from logvar.objectives.base import Objective
from logvar.objectives.elbo import ELBO
from logvar.objectives.importance import ImportanceWeighted
from logvar.objectives.labelled import Labelled
from logvar.objectives.trimmed import Trimmed
from logvar.registry import Entry, Registry

OBJECTIVES = Registry(
    "objective",
    Objective,  # type: ignore[type-abstract]
    {
        "elbo": Entry(
            ELBO, "E[log p(x | z)] − β·KL(q ‖ p)", "Kingma & Welling 2013 (arXiv 1312.6114)"
        ),
        "iwae": Entry(
            ImportanceWeighted,
            "log (1/k)·Σ p(x, z)/q(z | x)",
            "Burda et al. 2016 (arXiv 1509.00519)",
        ),
        "labelled": Entry(
            Labelled,
            "ELBO(x, y), or Σ_y q(y | x)·ELBO(x, y) + H(q(y | x)); and α·log q(y | x)",
            "Kingma et al. 2014 (arXiv 1406.5298)",
        ),
        "trimmed": Entry(
            Trimmed,
            "the ELBO of a batch without its least probable rows",
            "Shen & Sanghavi 2019 (arXiv 1810.11874)",
        ),
    },
)


def names() -> list[str]:
    """Return the names of all objectives.

    Example:
        >>> import logvar
        >>> logvar.objectives.names()
        ['elbo', 'iwae', 'labelled', 'trimmed']
    """
    return OBJECTIVES.names()


def get(objective: str | Objective, /, **settings: object) -> Objective:
    """Return the objective of a text; your own object is returned unchanged.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> logvar.objectives.get("elbo(beta=4, warmup=20)").beta
        4.0
    """
    return OBJECTIVES.get(objective, **settings)


def describe(objective: str | Objective) -> str:
    """Return the text from which `get` rebuilds this objective.

    Example:
        >>> import logvar
        >>> logvar.objectives.describe(logvar.objectives.get("iwae", samples=50))
        'iwae(samples=50)'
    """
    return OBJECTIVES.describe(objective)
