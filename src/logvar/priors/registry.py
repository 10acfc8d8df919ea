"""The list of priors, for recipes, the command line, documentation and tests."""

from logvar.priors.base import PriorSpec
from logvar.priors.conditional import Conditional
from logvar.priors.flow import Flow
from logvar.priors.mixture import Mixture
from logvar.priors.standard import Standard
from logvar.priors.uniform_sphere import UniformSphere
from logvar.priors.vamp import Vamp
from logvar.registry import Entry, Registry

PRIORS = Registry(
    "prior",
    PriorSpec,  # type: ignore[type-abstract]
    {
        "standard": Entry(Standard, "N(0, I)", "Kingma & Welling 2013 (arXiv 1312.6114)"),
        "mixture": Entry(
            Mixture, "Σ π_k N(m_k, diag σ_k²)", "Dilokthanakul et al. 2016 (arXiv 1611.02648)"
        ),
        "vamp": Entry(Vamp, "(1/K) Σ q(z | u_k)", "Tomczak & Welling 2018 (arXiv 1705.07120)"),
        "flow": Entry(
            Flow, "N(f(z); 0, I)·|det df/dz|", "Papamakarios et al. 2017 (arXiv 1705.07057)"
        ),
        "conditional": Entry(
            Conditional, "N(m(c), diag σ(c)²), c the condition", "Sohn et al. 2015 (NeurIPS 28)"
        ),
        "uniform-sphere": Entry(
            UniformSphere, "Γ(D/2)/(2·π^{D/2}), |z| = 1", "Davidson et al. 2018 (arXiv 1804.00891)"
        ),
    },
)


def names() -> list[str]:
    """Return the names of all priors.

    Example:
        >>> import logvar
        >>> logvar.priors.names()
        ['standard', 'mixture', 'vamp', 'flow', 'conditional', 'uniform-sphere']
    """
    return PRIORS.names()


def get(prior: str | PriorSpec, /, **settings: object) -> PriorSpec:
    """Return the prior of a text; your own object is returned unchanged.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> logvar.priors.get("mixture(components=20)").components
        20
    """
    return PRIORS.get(prior, **settings)


def describe(prior: str | PriorSpec) -> str:
    """Return the text from which `get` rebuilds this prior.

    Example:
        >>> import logvar
        >>> logvar.priors.describe(logvar.priors.get("mixture", components=20))
        'mixture(components=20)'
    """
    return PRIORS.describe(prior)
