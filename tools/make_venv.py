"""Build a virtual environment with pip in it, also where Debian's python3 came without ensurepip.

`python3 -m venv` needs the module ensurepip, which Debian ships apart (package python3-venv).
Without it the environment is made bare, and pip is taken, as any package would be, from the
package index that pip's own settings name (PIP_INDEX_URL, otherwise PyPI), with its checksum.
"""

import hashlib
import html.parser
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import venv


class Links(html.parser.HTMLParser):
    """Collects the links of an index page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.found.append(dict(attributes).get("href") or "")


def newest_pip_wheel():
    """Return (bytes, file name) of the newest pip release on the index."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    page = f"{index}/pip/"
    links = Links()
    with urllib.request.urlopen(page, timeout=60) as answer:
        links.feed(answer.read().decode())
    wheels = {}
    for link in links.found:
        url, fragment = urllib.parse.urldefrag(urllib.parse.urljoin(page, link))
        name = url.rsplit("/", 1)[-1]
        version = re.fullmatch(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl", name)
        if version:
            wheels[tuple(int(part) for part in version[1].split("."))] = (url, name, fragment)
    if not wheels:
        sys.exit(f"{page} lists no pip wheel; install Debian's package python3-venv and try again")
    url, name, fragment = wheels[max(wheels)]
    with urllib.request.urlopen(url, timeout=60) as answer:
        content = answer.read()
    if fragment.startswith("sha256=") and hashlib.sha256(content).hexdigest() != fragment[7:]:
        sys.exit(f"{name}: checksum differs from the index's; try again")
    return content, name


def main(folder):
    with_pip = importlib.util.find_spec("ensurepip") is not None
    venv.create(folder, with_pip=with_pip, clear=True, symlinks=True)
    if not with_pip:
        content, name = newest_pip_wheel()
        wheel = pathlib.Path(folder) / name
        wheel.write_bytes(content)
        # A wheel is a zip archive, and Python runs the pip inside it.
        python = str(pathlib.Path(folder) / "bin" / "python")
        subprocess.run([python, str(wheel / "pip"), "install", "--quiet", str(wheel)], check=True)
        wheel.unlink()


if __name__ == "__main__":
    main(sys.argv[1])
