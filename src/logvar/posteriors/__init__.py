"""Posterior families: q(z | x) from an encoder's outputs.

`base` is the contract; one family per file; `registry` lists all.
"""

from logvar.posteriors.base import Code, Posterior
from logvar.posteriors.registry import POSTERIORS, describe, get, names

__all__ = ["POSTERIORS", "Code", "Posterior", "describe", "get", "names"]
