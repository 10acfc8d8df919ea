"""Training many models at once: `members` is the pure computation, `train` the loop around it."""
