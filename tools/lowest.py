"""Print pip constraints that pin every dependency to its lower bound in pyproject.toml.

pip install --constraint lowest.txt --editable ".[test]"   # installs the lowest supported versions
"""

import pathlib
import re
import sys
import tomllib

PROJECT = pathlib.Path(__file__).parent.parent / "pyproject.toml"


def lowest(project):
    """Lines `name==version`, one for each requirement `name>=version`."""
    requirements = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    for requirement in requirements:
        bound = re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement)
        if bound:
            yield f"{bound[1]}=={bound[2]}"


if __name__ == "__main__":
    lines = lowest(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"])
    sys.stdout.write("".join(f"{line}\n" for line in lines))
