"""Examples in docstrings and documents run and say what they say."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import logvar

ROOT = Path(__file__).parent.parent
MODULES = [
    module.name
    for module in pkgutil.walk_packages(logvar.__path__, "logvar.")
    if not module.name.endswith("__main__")
]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    # Strict promotion is the tests' own setting; a user's examples run without it.
    import jax

    with jax.numpy_dtype_promotion("standard"):
        failures, _ = doctest.testmod(importlib.import_module(name))
    assert failures == 0


def test_the_public_face_has_examples():
    for thing in (logvar.VAE, logvar.load, logvar.Normal, logvar.reparameterize, logvar.scales.get):
        assert ">>>" in thing.__doc__


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_in_documents_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.S):
        exec(compile(block, str(path), "exec"), {})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_in_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target
