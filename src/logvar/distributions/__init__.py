"""Distributions of latents, computed from raw outputs: draw, log-density, KL by pair.

`normal` is the elementwise Normal of the public interface; `base` is the contract of a joint
density; `kl` lists the pairs whose KL has a closed form.
"""
