"""Kernels in C for what training spends its time in, where the processor has AVX-512.

Matrix products in float32, and in one pass each Adam, the gradient's norm, SiLU, the Bernoulli
likelihood and the noise, as custom calls of XLA's that share its threads. They are compiled when
the package is installed; without them, on other processors and on accelerators, XLA computes the
same. `LOGVAR_KERNELS=0` leaves them out.
"""
