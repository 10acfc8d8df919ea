"""Held-out numbers: ELBO, importance-weighted likelihood, use of the latents, raw outputs."""
