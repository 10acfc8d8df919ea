"""Samplers: other distributions of z to draw from, fitted after training to posterior draws.

`base` is the contract; one sampler per file; `registry` lists all; `storage` keeps them in a run.
"""

from logvar.samplers.base import FittedSampler, Sampler
from logvar.samplers.registry import SAMPLERS, describe, get, names

__all__ = ["SAMPLERS", "FittedSampler", "Sampler", "describe", "get", "names"]
