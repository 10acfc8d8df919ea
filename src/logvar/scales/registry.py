"""The list of scales, for the command line, recipes, documentation and contract tests.

A scale is written as text, like a call: `softplus`, `softplus(beta=2)`,
`clamped(log-variance, low=-15, high=10)`. The text is parsed, never evaluated.
"""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import equinox as eqx
import numpy as np

from logvar.registry import Entry, Registry
from logvar.scales.base import Scale
from logvar.scales.bounded import Bounded, ExpLinear, Sigmoid, TanhBounded
from logvar.scales.log_family import isometric, log_precision, log_std, log_variance
from logvar.scales.softplus import Softplus, SoftplusPrecision, SoftplusVariance
from logvar.scales.stdplus import Stdplus
from logvar.scales.wrappers import Clamped, Floored


@dataclasses.dataclass(frozen=True)
class ScaleEntry(Entry[Scale]):
    """A named scale in the catalogue."""

    initial_sigma: float | None = None
    """The σ at which the source starts training, if it states one."""


def _entry(build, formula: str, reference: str | None = None, **more) -> ScaleEntry:
    return ScaleEntry(build, formula, reference or build.reference, **more)


REGISTRY: Mapping[str, ScaleEntry] = MappingProxyType(
    {
        "log-variance": _entry(
            log_variance, "σ = exp(r/2)", "Kingma & Welling 2013 (arXiv 1312.6114)"
        ),
        "log-std": _entry(log_std, "σ = exp(r)", "IWAE's code, openai/vdvae"),
        "isometric": _entry(
            isometric, "σ = exp(r/√2)", "the rate at which Fisher information is 1"
        ),
        "softplus": _entry(
            Softplus, "σ = log(1 + e^{βr})/β, β = 1", "TensorFlow Probability, Pyro"
        ),
        "softplus-ln2": _entry(
            lambda: Softplus(math.log(2)), "σ = log(1 + 2^r)/ln 2", "Efficient-VDVAE"
        ),
        "softplus-variance": _entry(SoftplusVariance, "σ² = log(1 + e^r)"),
        "exp-linear": _entry(ExpLinear, "σ = e^r (r ≤ 0), 1 + r (r > 0)"),
        "bounded": _entry(Bounded, "σ = (ω/2)e^r (r ≤ 0), (ω/2)(2 − e^{−r}) (r > 0), ω = 2"),
        "stdplus": _entry(Stdplus, "σ² − 2 log σ − 1 = r²"),
        "log-precision": _entry(log_precision, "σ = exp(−r/2)", "Gaussian precision in logarithms"),
        "softplus-precision": _entry(SoftplusPrecision, "σ⁻² = log(1 + e^r)"),
        "tanh-bounded": _entry(TanhBounded, "σ = exp(5·tanh(r/5))", "NVAE without its floor"),
        "sigmoid": _entry(Sigmoid, "σ = 2·sigmoid(r/2)", "DreamerV2 without its floor"),
        "clamped": _entry(Clamped, "log σ kept between low and high", wraps=True),
        "floored": _entry(Floored, "σ + minimum, or √(σ² + minimum)", wraps=True),
        "diffusers": _entry(
            lambda: Clamped(log_variance(), -15.0, 10.0, hard=True),
            "σ = exp(clip(r, −30, 20)/2)",
            "huggingface/diffusers, CompVis/latent-diffusion",
            preset=True,
        ),
        "nvae": _entry(
            lambda: Floored(TanhBounded(), 0.01),
            "σ = exp(5·tanh(r/5)) + 0.01",
            "NVlabs/NVAE",
            preset=True,
        ),
        "vdvae": _entry(log_std, "σ = exp(r)", "openai/vdvae", preset=True),
        "efficient-vdvae": _entry(
            lambda: Softplus(math.log(2)), "σ = log(1 + 2^r)/ln 2", "Efficient-VDVAE", preset=True
        ),
        "scvi": _entry(
            lambda: Floored(log_variance(), 1e-4, of="variance"),
            "σ² = exp(r) + 1e-4",
            "scvi-tools",
            preset=True,
        ),
        "tfp": _entry(
            lambda: Floored(Softplus(), 1e-5),
            "σ = softplus(r) + 1e-5",
            "TensorFlow Probability, MultivariateNormalTriL",
            preset=True,
        ),
        "pyro": _entry(
            Softplus, "σ = softplus(r)", "Pyro and NumPyro guides", preset=True, initial_sigma=0.1
        ),
        "dreamer-v2": _entry(
            lambda: Floored(Sigmoid(), 0.1),
            "σ = 2·sigmoid(r/2) + 0.1",
            "DreamerV2",
            preset=True,
        ),
        "sac": _entry(
            lambda: Clamped(log_std(), -20.0, 2.0, hard=True),
            "σ = exp(clip(r, −20, 2))",
            "SAC, Stable-Baselines3",
            preset=True,
        ),
        "cleanrl": _entry(
            lambda: TanhBounded(limit=3.5, centre=-1.5, stretch=1.0),
            "σ = exp(−5 + 3.5·(tanh r + 1))",
            "CleanRL",
            preset=True,
        ),
    }
)


class _Scales(Registry[Scale]):
    @staticmethod
    def same(one: Scale, other: Scale) -> bool:
        return bool(eqx.tree_equal(one, other))

    @staticmethod
    def plain(value: Any) -> Any:
        """Convert a setting; bounds may be arrays, one value per feature."""
        return np.asarray(value).tolist() if eqx.is_array_like(value) else value


SCALES = _Scales("scale", Scale, REGISTRY)  # type: ignore[type-abstract]


def names() -> list[str]:
    """Return the names of all scales, catalogue first, then presets.

    Example:
        >>> import logvar
        >>> logvar.scales.names()[:3]
        ['log-variance', 'log-std', 'isometric']
    """
    return SCALES.names()


def get(name: str | Scale, /, *arguments, **settings) -> Scale:
    """Return the scale with this name and settings; a Scale is returned unchanged.

    The name may include its settings as text. Wrappers take the wrapped scale first.

    Raises:
        LogvarError: the name is unknown (the nearest one is named) or a setting does not fit.

    Example:
        >>> import logvar
        >>> round(float(logvar.scales.get("softplus(beta=2)").slope(0.0)), 4)
        1.4427
    """
    return SCALES.get(name, *arguments, **settings)


def describe(scale: str | Scale) -> str:
    """Return the text from which `get` rebuilds this scale, as used in recipes and reports.

    Example:
        >>> import logvar
        >>> logvar.scales.describe(logvar.scales.get("floored", "log-std", minimum=0.1))
        'floored(log-std, minimum=0.1)'
    """
    return SCALES.describe(scale)


def initial_sigma(name: str | Scale) -> float | None:
    """Return the σ at which the source of a preset starts training, if it states one."""
    return REGISTRY[name].initial_sigma if isinstance(name, str) and name in REGISTRY else None
