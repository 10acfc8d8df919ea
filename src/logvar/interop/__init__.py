"""To and from elsewhere: Keras models, code in other dialects, and other people's functions."""
