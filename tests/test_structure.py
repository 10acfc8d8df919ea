"""The house: imports go one way, and the mathematics knows no file, clock or printer."""

import ast
from pathlib import Path

import pytest

import logvar

SOURCE = Path(logvar.__file__).parent
# Each part may import those before it; parts in one tuple do not import each other.
ORDER = [
    ("errors",), ("cores", "signals", "scale_facts"), ("registry", "trainable", "contamination"), ("recipe",), ("scales",), ("backend",), ("randomness",), ("distributions",),
    ("posteriors", "priors", "likelihoods"), ("networks",), ("models",), ("objectives",), ("storage",), ("data",), ("evaluation",), ("processes",), ("training",),
    ("rescaling",), ("assembly",), ("fitted",), ("explaining", "imputing", "samplers", "sampling"), ("runs",), ("study",), ("fitted_drawing",), ("fitted_methods",), ("estimator",), ("outliers", "classifier"), ("loading", "pyod"), ("catalogue", "report"), ("comparing",), ("interop",), ("cli",),
    ("__main__", "__init__"),
]  # fmt: skip
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
PURE = (
    "registry", "trainable", "scales", "backend", "randomness", "distributions", "posteriors", "priors", "likelihoods",
    "networks", "models", "objectives",
)  # fmt: skip
IMPURE = {"os", "pathlib", "time", "sys", "io", "logging", "socket", "random", "shutil"}
FILES = sorted(SOURCE.rglob("*.py"))


def part(path):
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


def imports(path):
    """(module, names, only for the type checker) of each import of a file."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "logvar":
                yield from (f"logvar.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path):
    for module in imports(path):
        if module.startswith("logvar."):
            other = module.split(".")[1]
            assert other == part(path) or RANK[other] < RANK[part(path)], f"{path.name}: {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_mathematics_is_pure(path):
    if part(path) in PURE:
        for module in imports(path):
            assert module.split(".")[0] not in IMPURE
        tree = ast.parse(path.read_text())
        assert not any(getattr(node, "id", "") in ("print", "open") for node in ast.walk(tree))
        assert not any(isinstance(node, ast.Global) for node in ast.walk(tree))


def reached(path, seen):
    """The files that a file imports, directly or through others."""
    for module in imports(path):
        if not module.startswith("logvar."):
            continue
        there = SOURCE.joinpath(*module.split(".")[1:])
        for found in (there.with_suffix(".py"), there / "__init__.py"):
            if found.exists() and found not in seen:
                seen.add(found)
                reached(found, seen)
    return seen


def test_the_mathematics_reaches_nothing_impure():
    """Not through others either: an import of one helper must not bring files and clocks along.

    `scale_facts` alone reads a file: facts of the scales that were measured once, beside it.
    """
    of_mathematics = [path for path in FILES if part(path) in PURE]
    for path in of_mathematics:
        for other in reached(path, set()) - {SOURCE / "scale_facts.py"}:
            brought = IMPURE & {module.split(".")[0] for module in imports(other)}
            assert not brought, (
                f"{path.relative_to(SOURCE)} reaches {other.relative_to(SOURCE)}: {brought}"
            )


PRIVATE_JAX = ("jax._src", "jax.extend", "jax.experimental", "jax.interpreters", "jax.lib")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_jax_is_used_by_its_public_interface(path):
    """`import jax.extend`, `from jax import extend` and `jax.extend.core` alike."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        for name in names:
            assert not name.startswith(PRIVATE_JAX), f"{path.name}:{node.lineno}: {name}"
            assert not name.startswith("jax._"), f"{path.name}:{node.lineno}: {name}"
            # Programs as JAX traces them are no stable interface either.
            assert not name.endswith((".eqns", ".jaxpr")), f"{path.name}:{node.lineno}: {name}"


def test_nothing_but_the_backend_knows_of_faster_forms():
    """Other parts may name the extension, and no more."""
    for path in FILES:
        if part(path) == "backend":
            continue
        text = path.read_text()
        assert "logvar_kernels" not in text, path
        assert "logvar.backend.extension" not in imports(path), path
        used = {
            node.attr
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "extension"
        }
        assert used <= {"active", "description"}, path


POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def test_modules_that_windows_lacks_are_imported_only_where_they_may_be_absent():
    for path in FILES:
        tree = ast.parse(path.read_text())
        tried = {
            id(node)
            for block in ast.walk(tree)
            if isinstance(block, ast.Try)
            for statement in block.body
            for node in ast.walk(statement)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and id(node) not in tried:
                assert not POSIX & {alias.name for alias in node.names}, path
            if isinstance(node, ast.ImportFrom) and id(node) not in tried:
                assert node.module not in POSIX, path


def test_every_public_name_loads_and_is_documented():
    for name in logvar.__all__:
        thing = getattr(logvar, name)
        assert name == "__version__" or (thing.__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        _ = logvar.VEA


def test_files_are_of_a_size_to_be_read():
    for path in FILES:
        assert len(path.read_text().splitlines()) <= (
            575 if path.name == "estimator.py" else 400
        ), path
