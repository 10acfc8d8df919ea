"""Examples in docstrings and documents run and say what they say."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import logvar
from tests.cases import some

ROOT = Path(__file__).parent.parent
MODULES = [
    module.name
    for module in pkgutil.walk_packages(logvar.__path__, "logvar.")
    # logvar.pyod needs PyOD; tests/test_pyod.py imports it where that is installed. The example of
    # logvar.comparing is run by tests/study/test_identical.py, in the programs that users run.
    if not module.name.endswith(("__main__", ".pyod", "logvar.comparing"))
]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CURRENT = [
    *DOCUMENTS,
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "kernels" / "README.md",
]
LONG = ("adapting.md", "conditions.md", "counts.md", "labels.md", "optimizers.md", "scale.md")
"""Pages that train several models, or one for long, in ways that other tests train them too."""
PAGES = [*CURRENT, ROOT / "CHANGELOG.md"]  # which may name files of earlier versions


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    examples_hold(name)


def examples_hold(name):
    # Strict promotion is the tests' own setting; a user's examples run without it.
    import jax

    with jax.numpy_dtype_promotion("standard"):
        failures, _ = doctest.testmod(importlib.import_module(name))
    assert failures == 0


def test_the_public_face_has_examples():
    for thing in (
        logvar.VAE,
        logvar.OutlierVAE,
        logvar.load,
        logvar.Normal,
        logvar.reparameterize,
        logvar.scales.get,
    ):
        assert ">>>" in thing.__doc__


@pytest.mark.parametrize(
    "path",
    some(DOCUMENTS, quick=[path for path in DOCUMENTS if path.name not in LONG]),
    ids=lambda path: path.name,
)
def test_python_in_documents_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": path.stem}  # a page is read from top to bottom
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.S):
        exec(compile(block, str(path), "exec"), names)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_images_in_pages_exist(path):
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(\s*<?([^)>\s]+)", text)  # [text](target "title"), ![image](target)
    targets += re.findall(r"^\[[^\]]+\]:\s*<?([^>\s]+)", text, re.M)  # [name]: target
    targets += re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)  # HTML
    local = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in local if not (path.parent / target.split("#")[0]).exists()]
    assert not missing, f"{path.relative_to(ROOT)} links to files that do not exist: {missing}"


@pytest.mark.parametrize("path", CURRENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_in_pages_exist(path):
    """A path in a command or between backticks, such as docs/scripts/estimators.py."""
    named = re.findall(
        r"(?<![\w./-])(?:src|tests|docs|benchmarks|tools)/[\w./-]*\w", path.read_text("utf-8")
    )
    made = ("benchmarks/.venv",)  # by `make bench`
    missing = [name for name in named if name not in made and not (ROOT / name).exists()]
    assert not missing, f"{path.relative_to(ROOT)} names files that do not exist: {missing}"
