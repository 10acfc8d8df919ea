"""Tests run with strict dtype promotion, as logvar's own do."""

import jax
import pytest
from logvar_kernels import adam, bernoulli, forms, library, product, silu

from logvar.backend import extension

jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs():
    """Each maps memory of its own, of which a process may have so much (vm.max_map_count)."""
    yield
    jax.clear_caches()


@pytest.fixture
def in_logvar(monkeypatch):
    """Makes logvar ask this object for faster forms."""

    def ask(forms):
        jax.clear_caches()
        monkeypatch.setattr(extension, "_found", lambda: extension._Found(forms, "in a test"))

    yield ask
    jax.clear_caches()


@pytest.fixture
def traced(monkeypatch, in_logvar):
    """Programs traced here call the kernels, on any processor; they cannot run on most."""
    for module in (library, product, adam, bernoulli, silu):
        monkeypatch.setattr(module, "in_use", lambda: True)
    in_logvar(forms.Forms())
