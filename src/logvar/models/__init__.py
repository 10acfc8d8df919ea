"""Models: p(x, z) with q(z | x), as objectives and evaluation use them.

`batch` is a model's input, `base` the contract, `vae` the model with one level of latents.
"""
