"""Likelihoods: p(x | z) from a decoder's outputs.

`base` is the contract; one family per file; `noise` is the σ of observations; `registry` lists all.
"""

from logvar.likelihoods.base import Likelihood, LikelihoodSpec
from logvar.likelihoods.registry import LIKELIHOODS, describe, get, names

__all__ = ["LIKELIHOODS", "Likelihood", "LikelihoodSpec", "describe", "get", "names"]
