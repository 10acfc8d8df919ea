"""Moving a model from one scale to another: in training, at the start, and once trained."""
