"""Encoders and decoders, each for one example; convolution that is fast on CPU and GPU."""
