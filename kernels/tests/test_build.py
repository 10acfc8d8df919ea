"""The package builds everywhere: with its kernels where they can be compiled, otherwise inert."""

import importlib.util
import platform
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling")
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


@pytest.fixture
def build(monkeypatch):
    """The build hook as a module, on a machine that the kernels are for."""
    described = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("LOGVAR_KERNELS", raising=False)
    return module


def compiler(folder, monkeypatch, code):
    """Makes a Python program the C compiler."""
    path = folder / "a compiler.py"
    path.write_text(code)
    monkeypatch.setenv("CC", f"'{sys.executable}' '{path}'")


WRITES = "import sys; open(sys.argv[sys.argv.index('-o') + 1], 'w').write('a library')"
FAILS = "import sys; print('x.c:1: error: bad\\nnote: more', file=sys.stderr); sys.exit(1)"
WRITES_NOTHING = "pass"


def test_why_there_are_no_kernels(build, monkeypatch, tmp_path):
    library = tmp_path / "kernels.so"
    monkeypatch.setenv("LOGVAR_KERNELS", "0")
    assert build.compiled(ROOT, library) == "LOGVAR_KERNELS=0 left them out"
    monkeypatch.delenv("LOGVAR_KERNELS")
    compiler(tmp_path, monkeypatch, FAILS)
    assert build.compiled(ROOT, library).endswith("failed: x.c:1: error: bad")
    compiler(tmp_path, monkeypatch, WRITES_NOTHING)
    assert build.compiled(ROOT, library).endswith("failed: exit code 0")
    monkeypatch.setenv("CC", "no-such-compiler -x")
    assert "no C compiler (no-such-compiler)" in build.compiled(ROOT, library)
    monkeypatch.setenv("CC", "'cc")
    assert "CC is not a command" in build.compiled(ROOT, library)
    monkeypatch.setenv("CC", " ")
    assert "no C compiler (CC is empty)" in build.compiled(ROOT, library)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "this is linux on aarch64" in build.compiled(ROOT, library)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "this is darwin" in build.compiled(ROOT, library)
    assert not library.exists()


def test_without_the_headers_of_jaxlib(build, monkeypatch, tmp_path):
    compiler(tmp_path, monkeypatch, WRITES)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    assert "no jaxlib" in build.compiled(ROOT, tmp_path / "kernels.so")


KERNELS, REASON = (f"logvar_kernels/c/{name}" for name in ("kernels.so", "not-compiled.txt"))


def wheel(tmp_path):
    """The name of the package's wheel and the files in it, built where it was built before."""
    copy = tmp_path / "kernels"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("tests"))
    for name in (KERNELS, REASON):
        (copy / "src" / name).write_text("of an earlier build")
    (copy / ".gitignore").write_text("*.so\nnot-compiled.txt\n")
    (path,) = WheelBuilder(str(copy)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(path) as file:
        return Path(path).name, {name: file.read(name) for name in file.namelist()}


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="named after this platform"
)
def test_a_wheel_with_kernels_is_for_one_platform(build, monkeypatch, tmp_path):
    compiler(tmp_path, monkeypatch, WRITES)
    name, files = wheel(tmp_path)
    assert name.endswith("-py3-none-linux_x86_64.whl")
    assert files[KERNELS] == b"a library" and REASON not in files


@pytest.mark.parametrize("code", [FAILS, WRITES_NOTHING, f"{WRITES}; {FAILS}"])
def test_a_wheel_without_kernels_is_for_any_platform_and_says_why(
    build, monkeypatch, tmp_path, code
):
    compiler(tmp_path, monkeypatch, code)
    name, files = wheel(tmp_path)
    assert name.endswith("-py3-none-any.whl")
    assert KERNELS not in files and b" failed: " in files[REASON]
