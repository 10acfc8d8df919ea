"""Check whether a sampler, a density and a KL mean the same σ, by calling them."""
