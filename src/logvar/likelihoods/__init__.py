"""Likelihoods: what a decoder's outputs say about x.

`base` is the contract; one family per file; `noise` is the σ of observations; `registry` is the
list of names.
"""

from logvar.likelihoods.base import Likelihood, LikelihoodSpec
from logvar.likelihoods.registry import LIKELIHOODS, describe, get, names

__all__ = ["LIKELIHOODS", "Likelihood", "LikelihoodSpec", "describe", "get", "names"]
