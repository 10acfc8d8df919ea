"""What starts fast, and what it does not import: held without a clock.

The measured seconds are in CONTRIBUTING.md.
"""

import subprocess
import sys
from pathlib import Path

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


RUN = str(Path(__file__).parent / "golden" / "run_0_1")
MISSING = {
    "fit nosuch.csv": "no file or folder nosuch.csv exists",
    "fit empty.csv": "empty.csv is empty",
    "fit notes.txt": "notes.txt has the ending '.txt'",
    "compare nosuch.csv": "no file or folder nosuch.csv exists",
    "evaluate nosuch": "nosuch is not a folder",
    "evaluate folder": "folder has no manifest.json",
    "evaluate RUN nosuch.csv": "no file or folder nosuch.csv exists",
    "encode nosuch --out x.npy": "nosuch is not a folder",
    "encode RUN nosuch.csv --out x.npy": "no file or folder nosuch.csv exists",
    "encode RUN --out x.txt": "--out x.txt ends in '.txt'",
    "decode RUN nosuch.csv --out x.npy": "no file or folder nosuch.csv exists",
    "reconstruct nosuch --out x.npy": "nosuch is not a folder",
    "score nosuch --out x.npy": "nosuch is not a folder",
    "sample nosuch --out x.npy": "nosuch is not a folder",
    "sample RUN --out nosuch/x.npy": "the folder nosuch does not exist",
    "convert nosuch --scale log-std": "nosuch is not a folder",
    "report nosuch": "nosuch is not a folder",
    "doctor": "got no run",
    "doctor nosuch": "nosuch is not a folder",
    "scales --plot x.svg --run nosuch": "nosuch is not a folder",
}


def test_what_does_not_exist_is_answered_before_anything_heavy_is_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "notes.txt").write_text("1")
    (tmp_path / "folder").mkdir()
    commands = ([RUN if word == "RUN" else word for word in line.split(" ")] for line in MISSING)
    imported, done = imported_by("\n".join(command(*arguments) for arguments in commands))
    assert imported == "[]"
    assert done.stdout.splitlines()[:-1] == ["exit 2"] * len(MISSING)
    for said, expected in zip(done.stderr.splitlines(), MISSING.values(), strict=True):
        assert said.startswith("logvar: ") and expected in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.csv", "folder", "notes.txt"]


def test_the_version_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "logvar", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"logvar {logvar.__version__}\n" and done.stderr == ""
