"""Do a sampler, a density and a KL mean the same σ? Readings of other people's functions."""
