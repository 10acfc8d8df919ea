"""When the package is in use, and what it says where it is not."""

import json
import os
import subprocess
import sys
import types

import jax
import logvar_kernels
import pytest
from logvar_kernels import library
from sharing import on_supported_jax, with_kernels

FIT = """
import json, logvar
from logvar.backend import extension
from logvar.data.sources import load
vae = logvar.VAE(epochs=3, latent_dim=4, random_state=0).fit(load("digits").train[:600])
print(json.dumps([extension.description(), vae.score(load("digits").train[:200])]))
"""


@pytest.fixture(autouse=True)
def supported(monkeypatch):
    monkeypatch.setattr(jax, "__version_info__", (0, 10, 2))
    monkeypatch.delenv(library.SWITCH, raising=False)


def why_not():
    return library.why_not.__wrapped__()


def fitted(kernels, cache):
    environment = os.environ | {library.SWITCH: kernels, "LOGVAR_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", FIT], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@with_kernels
@on_supported_jax
def test_a_fit_without_the_kernels_ends_where_one_with_them_does(tmp_path):
    (inert, without), (used, with_them) = fitted("0", tmp_path), fitted("1", tmp_path)
    assert inert.endswith("inert: LOGVAR_KERNELS=0 leaves it out") and used.endswith(", in use")
    assert without == pytest.approx(with_them, abs=0.02)


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(library.SWITCH, "0")
    assert why_not() == "LOGVAR_KERNELS=0 leaves it out"


@pytest.mark.parametrize("version", [(0, 9, 3), (0, 11, 0), (0, 12, 0), (1, 0, 0)])
def test_other_versions_of_jax_are_not_for_it(monkeypatch, version):
    monkeypatch.setattr(jax, "__version_info__", version)
    monkeypatch.setattr(jax, "__version__", ".".join(map(str, version)))
    assert why_not() == f"it supports JAX 0.10, this is {jax.__version__}"


def test_a_package_that_was_built_without_kernels_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "_FILE", tmp_path / "kernels.so")
    monkeypatch.setattr(library, "_NOT_COMPILED", tmp_path / "not-compiled.txt")
    assert why_not() == "its kernels were not compiled when it was installed"
    (tmp_path / "not-compiled.txt").write_text("there was no C compiler (cc)")
    assert why_not().endswith("when it was installed: there was no C compiler (cc)")


def test_a_library_that_cannot_be_used_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "_FILE", tmp_path / "kernels.so")
    (tmp_path / "kernels.so").write_text("no library")
    assert why_not().startswith("its kernels cannot be loaded: ")
    old = types.SimpleNamespace(logvar_supported=lambda: 0)
    monkeypatch.setattr(library.ctypes, "CDLL", lambda name: old)
    assert why_not() == "this processor has no AVX-512"
    older = types.SimpleNamespace(logvar_supported=lambda: 1, logvar_product=lambda: None)
    monkeypatch.setattr(library.ctypes, "CDLL", lambda name: older)
    assert why_not().startswith("its kernels are of another version")


def test_inert_forms_are_not_imported(monkeypatch):
    """They use interfaces that other versions of JAX may not have."""
    monkeypatch.setitem(sys.modules, "logvar_kernels.forms", None)
    monkeypatch.setattr(library, "why_not", lambda: "a reason")
    found = logvar_kernels.extension()
    assert found.why_inert() == "a reason"
    assert (found.name, found.version) == ("logvar-kernels", "0.1.0")
    monkeypatch.setattr(library, "why_not", lambda: None)
    with pytest.raises(ImportError):
        logvar_kernels.extension()
