"""Priors: p(z), which may be learned and may use the encoder.

`base` is the contract; one prior per file; `registry` lists all.
"""

from logvar.priors.base import Encode, EncoderInputs, Prior, PriorSpec
from logvar.priors.registry import PRIORS, describe, get, names

__all__ = ["PRIORS", "Encode", "EncoderInputs", "Prior", "PriorSpec", "describe", "get", "names"]
