"""What starts fast, and what it does not import: held without a clock.

The measured seconds are in CONTRIBUTING.md.
"""

import subprocess
import sys

import pytest

import logvar

HEAVY = {"jax", "jaxlib", "numpy", "scipy", "sklearn", "pandas", "pyarrow", "matplotlib", "equinox"}


def imported_by(code):
    """Which of the heavy packages a fresh process has imported at the end of this code."""
    code = f"import sys\n{code}\nprint(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1], done


def command(*arguments):
    return (
        f"sys.argv = {['logvar', *arguments]}\n"
        "from logvar.cli.main import main\n"
        "try:\n main()\n"
        "except SystemExit as leaving:\n print('exit', leaving.code)\n"
        "else:\n print('exit', 0)"
    )


def test_importing_the_package_imports_nothing_heavy():
    assert imported_by("import logvar; logvar.__version__; logvar.__all__")[0] == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "compare"),
        (["fit", "--help"], 0, "Example: logvar fit"),
        (["fit", "--preset", "tutorial", "--help"], 0, "adam-keras"),
        (["compare", "--help"], 0, "Example: logvar compare"),
        (["scales", "--help"], 0, "Example: logvar scales"),
        (["--version"], 0, f"logvar {logvar.__version__}"),
        (["fit", "digits", "--epoch", "3"], 2, "--epoch"),
        (["fti", "digits"], 2, "fti"),
        (["fit"], 2, "DATA"),
        (["evaluate"], 2, "RUN"),
        (["fit", "digits", "--epochs", "ten"], 2, "--epochs"),
        (["fit", "digits", "--epochs", "0"], 2, "epochs is 0: expected at least 1"),
        (["fit", "digits", "--preset", "tutorail"], 2, "did you mean 'tutorial'"),
        (["compare", "digits", "--learning-rates", "fast"], 2, "--learning-rates is 'fast'"),
        (["compare", "digits", "--epochs", "0"], 2, "epochs is 0: expected at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_and_usage_errors_import_nothing_heavy(arguments, code, said):
    imported, done = imported_by(command(*arguments))
    assert imported == "[]"
    assert f"exit {code}\n" in done.stdout
    assert said in done.stdout + done.stderr


def test_the_version_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "logvar", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"logvar {logvar.__version__}\n" and done.stderr == ""
