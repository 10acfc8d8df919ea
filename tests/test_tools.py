"""Tools that find Python interpreters and the lowest supported dependencies."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def tool(name):
    described = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def pythons(tmp_path, monkeypatch):
    """The module, with nothing on PATH but an empty folder."""
    (tmp_path / "a bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "a bin"))
    monkeypatch.setattr(sys, "version_info", (3, 11, 0))
    return tool("pythons")


def test_a_python_on_the_path_is_found(pythons, tmp_path):
    program(tmp_path / "a bin" / "python3.12", "echo 3.12 /some where/python")
    assert pythons.find("3.12") == "/some where/python"
    assert pythons.find("3.13") is None


@pytest.mark.parametrize("text", ["exit 127", "echo 3.11 /another/python"])
def test_what_does_not_run_as_this_version_is_passed_over(pythons, tmp_path, text):
    """As a pyenv shim does whose version is not active."""
    program(tmp_path / "a bin" / "python3.12", text)
    assert pythons.find("3.12") is None


def test_pyenvs_newest_version_is_found_behind_a_shim_that_fails(pythons, tmp_path):
    program(tmp_path / "a bin" / "python3.12", "exit 127")
    folder = tmp_path / "versions of pyenv"
    program(
        tmp_path / "a bin" / "pyenv",
        f"""case "$1" in
versions) echo 3.11.7; echo 3.12.1; echo 3.12.4; echo 3.13.0;;
prefix) echo "{folder}/$2";;
esac""",
    )
    program(folder / "3.12.1" / "bin" / "python", f"echo 3.12 {folder}/3.12.1")
    program(folder / "3.12.4" / "bin" / "python", f"echo 3.12 {folder}/3.12.4")
    assert pythons.find("3.12") == f"{folder}/3.12.4"


def test_others_are_listed_and_the_missing_are_named(pythons, tmp_path, capsys):
    program(tmp_path / "a bin" / "python3.13", "echo 3.13 /there/python")
    pythons.main(["--others"])
    said = capsys.readouterr()
    assert said.out == "3.13 /there/python\n"
    assert said.err == "Python 3.12 was not found\n"
    pythons.main(["--newest"])
    assert capsys.readouterr().out == "/there/python\n"
    pythons.main(["--oldest"])
    assert capsys.readouterr().out == f"{sys.executable}\n"


def test_every_dependency_is_pinned_to_its_lower_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(tool("lowest").lowest(project))
    assert len(lines) >= len(project["dependencies"])
    for requirement in project["dependencies"]:
        assert requirement.replace(">=", "==") in lines
    assert list(tool("lowest").lowest({
        "dependencies": ["a-b>=1.5"],
        "optional-dependencies": {"x": ["itself[y]", "c>=2", "d==3"]},
    })) == ["a-b==1.5", "c==2"]  # fmt: skip
