"""Combine a scale's formula with sampler, density and KL, for one framework."""

from logvar import scales
from logvar.interop.snippets import dialects
from logvar.interop.snippets.formulas import EXPM1_MINUS, definitions
from logvar.scales import Scale, Stdplus

_SIGMA = '''
def sigma(raw):
    """The standard deviation."""
    log_s = log_sigma(raw)
    return exp(log_s)
'''

_LOG_PROB = '''
def log_prob(z, mean, raw):
    """log N(z; mean, sigma^2) in nats, elementwise."""
    u = (z - mean) / sigma(raw)
    return -0.5 * u * u - log_sigma(raw) - 0.9189385332046727
'''

_KL = '''
def kl(mean, raw):
    """KL(N(mean, sigma^2) || N(0, 1)) in nats, elementwise."""
    u = 2.0 * log_sigma(raw)
    return 0.5 * (expm1_minus(u) + mean * mean)
'''

_KL_OF_STDPLUS = '''
def kl(mean, raw):
    """KL(N(mean, sigma^2) || N(0, 1)) in nats: what this scale was made for."""
    return 0.5 * (raw * raw + mean * mean)
'''


def listing(scale: str | Scale, framework: str) -> str:
    """Return code of `sigma`, `sample`, `log_prob` and `kl` that share one log σ.

    The code computes everything from the raw output, is finite wherever the scale is, and keeps
    the digits of the KL near σ = 1.

    Args:
        scale: a scale or its name.
        framework: "numpy", "jax", "torch" or "tensorflow".

    Raises:
        LogvarError: the framework or scale is unknown, or there is no such code for the scale.

    Example:
        >>> from logvar.interop.snippets.listing import listing
        >>> code = listing("log-std", "numpy")
        >>> names = {}
        >>> exec(code, names)
        >>> float(names["kl"](1.0, 0.0))
        0.5
    """
    found = scales.get(scale)
    dialect = dialects.get(framework)
    text = scales.describe(found)
    name = scale if isinstance(scale, str) else text
    exact_kl = isinstance(found, Stdplus)
    parts = [
        f'"""The scale {name} for {framework}, written by logvar: raw output -> sigma > 0."""\n',
        f"{dialect.imports}\n",
        "" if exact_kl else dialect.spell(EXPM1_MINUS),
        dialect.spell(definitions(found)),
        dialect.spell(_SIGMA),
        f"\n{dialect.sample}\n",
        dialect.spell(_LOG_PROB),
        dialect.spell(_KL_OF_STDPLUS if exact_kl else _KL),
    ]
    return "\n".join(part for part in parts if part)
