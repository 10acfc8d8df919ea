"""Many models at once: `members` is what is computed, `train` what surrounds it."""
