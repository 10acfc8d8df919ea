"""Exchange with others: Keras models, code for other frameworks, and other people's functions."""
