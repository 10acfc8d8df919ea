"""The list of objectives, for recipes, the command line, documentation and tests."""

from logvar.objectives.base import Objective
from logvar.objectives.discrepancy import MeanDiscrepancy
from logvar.objectives.elbo import ELBO
from logvar.objectives.factor import Factor
from logvar.objectives.importance import ImportanceWeighted
from logvar.objectives.labelled import Labelled
from logvar.objectives.moments import DisentangledInferredPrior
from logvar.objectives.nested import (
    CombinedImportanceWeighted,
    MultiplyImportanceWeighted,
    PartlyImportanceWeighted,
)
from logvar.objectives.renyi import Renyi
from logvar.objectives.total_correlation import TotalCorrelation
from logvar.objectives.trimmed import Trimmed
from logvar.registry import Entry, Registry

_NESTED = "Rainforth et al. 2018 (arXiv 1802.04537)"

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
        "miwae": Entry(MultiplyImportanceWeighted, "(1/M)·Σ log (1/K)·Σ p(x, z)/q(z | x)", _NESTED),
        "piwae": Entry(
            PartlyImportanceWeighted, "decoder: iwae of M·K draws; encoder: miwae", _NESTED
        ),
        "ciwae": Entry(CombinedImportanceWeighted, "β·elbo + (1 − β)·iwae", _NESTED),
        "renyi": Entry(
            Renyi,
            "1/(1 − α)·log (1/k)·Σ (p(x, z)/q(z | x))^(1−α)",
            "Li & Turner 2016 (arXiv 1602.02311)",
        ),
        "beta-tc": Entry(
            TotalCorrelation,
            "E[log p(x | z)] − α·I(x; z) − β·KL(q(z) ‖ Π q(zᵢ)) − γ·KL(Π q(zᵢ) ‖ p(z))",
            "Chen et al. 2018 (arXiv 1802.04942)",
        ),
        "dip": Entry(
            DisentangledInferredPrior,
            "elbo − λ_off·Σ_{i≠j} C²ᵢⱼ − λ_on·Σ (Cᵢᵢ − 1)²",
            "Kumar et al. 2018 (arXiv 1711.00848)",
        ),
        "mmd": Entry(
            MeanDiscrepancy,
            "E[log p(x | z)] − β·KL(q ‖ p) − weight·MMD²(q(z), p(z))",
            "Zhao et al. 2019 (arXiv 1706.02262)",
        ),
        "factor": Entry(
            Factor,
            "elbo − γ·E[log D(z)/(1 − D(z))]",
            "Kim & Mnih 2018 (arXiv 1802.05983)",
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
        >>> logvar.objectives.names()[:5]
        ['elbo', 'iwae', 'labelled', 'miwae', 'piwae']
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
