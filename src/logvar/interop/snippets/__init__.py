"""A scale as code for another framework: sampler, density and KL to paste into a model."""
