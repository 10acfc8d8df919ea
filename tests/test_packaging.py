"""logvar installs without compiling anything."""

import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILED = {".so", ".pyd", ".dylib", ".dll", ".o", ".a", ".c", ".h", ".cpp", ".pyx"}


def test_no_build_hook_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = project["tool"]["hatch"]["build"]
    assert "hooks" not in build
    assert not any("hooks" in target for target in build["targets"].values())
    assert [r.split(">")[0] for r in project["build-system"]["requires"]] == ["hatchling"]


def test_the_wheel_is_for_every_platform_and_holds_no_compiled_file(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel")
    (path,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert path.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(path) as file:
        inside = [Path(name) for name in file.namelist()]
    files = [name for name in inside if not name.parts[0].endswith(".dist-info")]
    assert {name.parts[0] for name in files} == {"logvar"}
    assert not {name.suffix for name in files} & COMPILED
    installed = {name.as_posix() for name in files if name.suffix == ".py"}
    sources = ROOT / "src"
    assert installed == {p.relative_to(sources).as_posix() for p in sources.rglob("*.py")}
