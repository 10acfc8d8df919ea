"""Distributions computed from raw network outputs: the Normal, priors and likelihoods."""
