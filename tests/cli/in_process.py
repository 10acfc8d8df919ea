"""A command in the tests' own process: importing JAX takes longer than most commands."""

import contextlib
import io
import sys
from types import SimpleNamespace

import pytest

from logvar.cli.main import main


def run(arguments, prepare=lambda patch: None):
    """Return the exit code, output and errors of a command.

    Args:
        arguments: those after `logvar`.
        prepare: patches what is to be another while it runs.
    """
    out, errors, code = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        prepare(patch)
        patch.setattr(sys, "argv", ["logvar", *arguments])
        try:
            main()
        except SystemExit as end:
            code = end.code
    return SimpleNamespace(code=code, out=out.getvalue(), errors=errors.getvalue())
