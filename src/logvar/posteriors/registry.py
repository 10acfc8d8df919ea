"""The list of posterior families, for recipes, the command line, documentation and tests."""

from logvar.posteriors.base import Posterior
from logvar.posteriors.diagonal import Diagonal
from logvar.posteriors.flow import Flow
from logvar.posteriors.full import Full
from logvar.posteriors.low_rank import LowRank
from logvar.posteriors.power_spherical import PowerSpherical
from logvar.registry import Entry, Registry

POSTERIORS = Registry(
    "posterior",
    Posterior,  # type: ignore[type-abstract]
    {
        "diagonal": Entry(Diagonal, "z = μ + σ ⊙ ε", "Kingma & Welling 2013 (arXiv 1312.6114)"),
        "full": Entry(Full, "z = μ + Lε", "Kingma & Welling 2019 (arXiv 1906.02691)"),
        "low-rank": Entry(LowRank, "z = μ + σ ⊙ ε₁ + Wε₂", "Ong et al. 2018 (arXiv 1701.03208)"),
        "flow": Entry(Flow, "z = f(μ + σ ⊙ ε; context)", "Kingma et al. 2016 (arXiv 1606.04934)"),
        "power-spherical": Entry(
            PowerSpherical, "∝ (1 + μᵀz)^κ, |z| = 1", "De Cao & Aziz 2020 (arXiv 2006.04437)"
        ),
    },
)


def names() -> list[str]:
    """Return the names of all posterior families.

    Example:
        >>> import logvar
        >>> logvar.posteriors.names()
        ['diagonal', 'full', 'low-rank', 'flow', 'power-spherical']
    """
    return POSTERIORS.names()


def get(posterior: str | Posterior, /, **settings: object) -> Posterior:
    """Return the posterior family of a text.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> logvar.posteriors.get("full(scale=log-std)").heads(3)
        {'mean': 3, 'raw': 3, 'lower': 3}
    """
    return POSTERIORS.get(posterior, **settings)


def describe(posterior: str | Posterior) -> str:
    """Return the text from which `get` rebuilds this family.

    Example:
        >>> import logvar
        >>> logvar.posteriors.describe("full(scale=clamped(log-std, -3, 1))")
        'full(scale=clamped(log-std, low=-3.0, high=1.0))'
    """
    return POSTERIORS.describe(posterior)
