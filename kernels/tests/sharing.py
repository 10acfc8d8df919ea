"""What the tests of the kernels share."""

import numpy as np
import pytest
from logvar.native import library

with_kernels = pytest.mark.skipif(not library.in_use(), reason=f"kernels: {library.why_not()}")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
