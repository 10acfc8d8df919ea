"""The list of likelihoods, for recipes, the command line, documentation and tests."""

from logvar.likelihoods.base import LikelihoodSpec
from logvar.likelihoods.bernoulli import Bernoulli
from logvar.likelihoods.categorical import Categorical
from logvar.likelihoods.continuous_bernoulli import ContinuousBernoulli
from logvar.likelihoods.counts import (
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from logvar.likelihoods.discretized import Discretized
from logvar.likelihoods.location_scale import Laplace, Normal, StudentT
from logvar.likelihoods.mixed import Mixed
from logvar.registry import Entry, Registry

LIKELIHOODS = Registry(
    "likelihood",
    LikelihoodSpec,  # type: ignore[type-abstract]
    {
        "bernoulli": Entry(Bernoulli, "x·l − log(1 + eˡ)", "Kingma & Welling 2013"),
        "continuous-bernoulli": Entry(
            ContinuousBernoulli, "x·l − log((eˡ − 1)/l)", "Loaiza-Ganem & Cunningham 2019"
        ),
        "normal": Entry(Normal, "log N(x; location, σ²)", "Kingma & Welling 2013"),
        "laplace": Entry(Laplace, "−|x − location|/σ − log 2σ", "Laplace 1774"),
        "student-t": Entry(
            StudentT, "∝ −½(ν + 1)·log(1 + ((x − location)/σ)²/ν)", "Takahashi et al. 2018"
        ),
        "discretized-logistic": Entry(
            Discretized, "log(F((x + ½ − m)/s) − F((x − ½ − m)/s))", "Kingma et al. 2016"
        ),
        "categorical": Entry(Categorical, "log softmax(logits)ₓ", "Kingma et al. 2014"),
        "poisson": Entry(Poisson, "x·log m − m − log x!", "Poisson 1837"),
        "negative-binomial": Entry(
            NegativeBinomial,
            "log Γ(x+θ)/(Γ(θ)·x!) + θ·log(θ/(θ+m)) + x·log(m/(θ+m))",
            "Lopez et al. 2018",
        ),
        "zero-inflated-negative-binomial": Entry(
            ZeroInflatedNegativeBinomial, "log(π·[x = 0] + (1 − π)·NB(x))", "Lopez et al. 2018"
        ),
        "mixed": Entry(
            Mixed,
            "by column: log softmax; ordered levels: log(s(cₖ − m) − s(cₖ₋₁ − m)); numbers: "
            "log N(T(x); location, σ²) + log T′(x)",
            "Nazábal et al. 2018; McCullagh 1980",
        ),
    },
)


def names() -> list[str]:
    """Return the names of all likelihoods.

    Example:
        >>> import logvar
        >>> logvar.likelihoods.names()[:2]
        ['bernoulli', 'continuous-bernoulli']
    """
    return LIKELIHOODS.names()


def get(likelihood: str | LikelihoodSpec, /, **settings: object) -> LikelihoodSpec:
    """Return the likelihood of a text; your own object is returned unchanged.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> logvar.likelihoods.get("normal(noise=optimal)").noise
        'optimal'
    """
    return LIKELIHOODS.get(likelihood, **settings)


def describe(likelihood: str | LikelihoodSpec) -> str:
    """Return the text from which `get` rebuilds this likelihood.

    Example:
        >>> import logvar
        >>> logvar.likelihoods.describe(logvar.likelihoods.get("student-t", sigma=0.5))
        'student-t(sigma=0.5)'
    """
    return LIKELIHOODS.describe(likelihood)
