"""Sources of examples, how they become numbers, and their order as a function of (seed, epoch)."""
