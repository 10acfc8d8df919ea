"""Changes of a model's scale: in training, at the start, and after training."""
