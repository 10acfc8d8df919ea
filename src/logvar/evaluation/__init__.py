"""Held-out evaluation: ELBO, importance-weighted likelihood, active latents, raw outputs."""
