"""Models: p(x, z) with q(z | x), as objectives and evaluation see them.

`batch` is what a model reads, `base` the contract, `vae` the model with one level of latents.
"""
