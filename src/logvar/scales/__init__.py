"""r → σ: how a raw network output becomes a positive standard deviation.

`base` is the contract; one family per file; `registry` lists all.
"""

from logvar.scales.base import Scale
from logvar.scales.bounded import Bounded, ExpLinear, Sigmoid, TanhBounded
from logvar.scales.log_family import LogFamily
from logvar.scales.registry import REGISTRY, describe, get, initial_sigma, names
from logvar.scales.softplus import Softplus, SoftplusPrecision, SoftplusVariance
from logvar.scales.stdplus import Stdplus
from logvar.scales.wrappers import Clamped, Floored

__all__ = [
    "REGISTRY",
    "Bounded",
    "Clamped",
    "ExpLinear",
    "Floored",
    "LogFamily",
    "Scale",
    "Sigmoid",
    "Softplus",
    "SoftplusPrecision",
    "SoftplusVariance",
    "Stdplus",
    "TanhBounded",
    "describe",
    "get",
    "initial_sigma",
    "names",
]
