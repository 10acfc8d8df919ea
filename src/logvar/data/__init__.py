"""Sources of examples, their conversion to numbers, and their order by (seed, epoch)."""
