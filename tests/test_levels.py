"""Each file of tests is run at one of the two levels of `make test`, and at that level."""

import os

from tests import levels
from tests.conftest import TESTS

FILES = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}


def test_every_file_is_of_one_level_and_of_neither_alone():
    assert FILES >= levels.FULLY
    for name in FILES:
        assert levels.selects(None, name)
        assert [levels.selects(level, name) for level in levels.LEVELS].count(True) == 1


def test_processes_that_tests_start_compile_as_was_asked(request):
    quickly = request.config.getoption("--compile") == "quickly"
    assert os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == ("1" if quickly else None)


def test_flags_that_xla_does_not_know_are_left_out(monkeypatch):
    known = "--xla_cpu_parallel_codegen_split_count=1"
    monkeypatch.setattr(levels, "_FLAGS", ("--xla_no_such_flag=false", known))
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "")
    levels.compile_quickly()
    assert os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    assert os.environ["XLA_FLAGS"] == f"--xla_force_host_platform_device_count=1 {known}"
