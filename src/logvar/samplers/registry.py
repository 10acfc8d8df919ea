"""The list of samplers, for the command line, documentation and tests."""

from logvar.registry import Entry, Registry
from logvar.samplers.base import Sampler
from logvar.samplers.flow import Flow
from logvar.samplers.mixture import Mixture
from logvar.samplers.two_stage import TwoStage

SAMPLERS = Registry(
    "sampler",
    Sampler,  # type: ignore[type-abstract]
    {
        "mixture": Entry(Mixture, "Σ wₖ N(mₖ, Cₖ)", "Ghosh et al. 2020 (arXiv 1903.12436)"),
        "flow": Entry(
            Flow, "N(f(z); 0, I)·|det df/dz|", "Papamakarios et al. 2017 (arXiv 1705.07057)"
        ),
        "two-stage": Entry(
            TwoStage, "u ~ N(0, I), z ~ p₂(z ∣ u)", "Dai & Wipf 2019 (arXiv 1903.05789)"
        ),
    },
)


def names() -> list[str]:
    """Return the names of all samplers.

    Example:
        >>> from logvar import samplers
        >>> samplers.names()
        ['mixture', 'flow', 'two-stage']
    """
    return SAMPLERS.names()


def get(sampler: str | Sampler, /, **settings: object) -> Sampler:
    """Return the sampler of a text; your own object is returned unchanged.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> from logvar import samplers
        >>> samplers.get("mixture(components=20)").components
        20
    """
    return SAMPLERS.get(sampler, **settings)


def describe(sampler: str | Sampler) -> str:
    """Return the text from which `get` rebuilds this sampler.

    Example:
        >>> from logvar import samplers
        >>> samplers.describe(samplers.get("mixture", components=20))
        'mixture(components=20)'
    """
    return SAMPLERS.describe(sampler)
