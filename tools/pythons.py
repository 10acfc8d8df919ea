"""Find the Python interpreters that logvar supports.

python tools/pythons.py             # one line for each: version and path
python tools/pythons.py --others    # those of another version than the Python that runs this
python tools/pythons.py --newest    # the path alone of the newest that was found
python tools/pythons.py --oldest    # the path alone of the oldest that is supported

Looks on PATH and among pyenv's versions. Each candidate is started once: a pyenv shim on PATH may
belong to no active version. Versions that were not found are named on standard error.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
WHO = "import sys, venv; print('%d.%d' % sys.version_info[:2], sys.executable)"


def supported():
    """Versions such as 3.12, oldest first, from the classifiers in pyproject.toml."""
    classifiers = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["classifiers"]
    return [c.rpartition(" ")[2] for c in classifiers if re.search(r":: Python :: 3\.\d+$", c)]


def output_of(*command):
    """What a command prints, or nothing if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def candidates(version):
    """Paths that may be a Python of this version."""
    found = shutil.which(f"python{version}")
    if found:
        yield found
    if shutil.which("pyenv"):
        for name in reversed(output_of("pyenv", "versions", "--bare").split()):
            if name.startswith(f"{version}."):
                yield str(Path(output_of("pyenv", "prefix", name)) / "bin" / "python")


def find(version):
    """The path of a Python of this version that runs, or None."""
    for candidate in candidates(version):
        answer, _, path = output_of(candidate, "-c", WHO).partition(" ")
        if answer == version:
            return path
    return None


def main(arguments):
    current = "{}.{}".format(*sys.version_info[:2])
    wanted = {
        (): supported(),
        ("--others",): [version for version in supported() if version != current],
        ("--newest",): supported()[::-1],
        ("--oldest",): supported()[:1],
    }.get(tuple(arguments))
    if wanted is None:
        sys.exit(f"unknown arguments {arguments}: expected --others, --newest, --oldest or none")
    one = arguments in (["--newest"], ["--oldest"])
    for version in wanted:
        path = sys.executable if version == current else find(version)
        if not path:
            sys.stderr.write(f"Python {version} was not found\n")
        elif one:
            sys.stdout.write(f"{path}\n")
            return
        else:
            sys.stdout.write(f"{version} {path}\n")
    if one:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
