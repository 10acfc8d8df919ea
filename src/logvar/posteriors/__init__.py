"""Posterior families: what an encoder's outputs say about z.

`base` is the contract; one family per file; `registry` is the list of names.
"""

from logvar.posteriors.base import Code, Posterior
from logvar.posteriors.registry import POSTERIORS, describe, get, names

__all__ = ["POSTERIORS", "Code", "Posterior", "describe", "get", "names"]
