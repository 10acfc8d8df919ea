"""Compiles the kernels when the package is built, where there is a compiler for them.

The result is one shared library beside the sources. Where it cannot be built, the package is
installed without it, stays inert and says why. Nothing here makes an installation fail.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/logvar_kernels/c")
LIBRARY = SOURCES / "kernels.so"
NOT_COMPILED = SOURCES / "not-compiled.txt"
"""The reason, for `logvar doctor --environment`: pip shows a build's warnings only with `-v`."""
FLAGS = ["-std=c11", "-O3", "-mavx512f", "-fPIC", "-shared", "-fvisibility=default", "-pthread"]


class CompileKernels(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version, build_data):
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        for earlier in (LIBRARY, NOT_COMPILED):
            (root / earlier).unlink(missing_ok=True)
        why_not = compiled(root, root / LIBRARY)
        if why_not:
            self.app.display_warning(f"logvar-kernels is built without its kernels: {why_not}")
            (root / LIBRARY).unlink(missing_ok=True)
            (root / NOT_COMPILED).write_text(why_not, encoding="utf-8")
            build_data["artifacts"].append(str(NOT_COMPILED))
            return
        build_data["artifacts"].append(str(LIBRARY))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def compiled(root, library):
    """Compile the kernels; return why not, where that cannot be."""
    if os.environ.get("LOGVAR_KERNELS") == "0":
        return "LOGVAR_KERNELS=0 left them out"
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ("x86_64", "AMD64"):
        return f"they are for Linux on x86-64, this is {sys.platform} on {machine}"
    try:
        command = shlex.split(os.environ.get("CC") or "cc")
    except ValueError as error:
        return f"CC is not a command: {error}"
    if not command or not shutil.which(command[0]):
        named = command[0] if command else "CC is empty"
        return f"there was no C compiler ({named}); install one, or set CC, and install again"
    jaxlib = importlib.util.find_spec("jaxlib")
    version = importlib.metadata.version("jaxlib") if jaxlib else "0.10."
    if not version.startswith("0.10."):
        return f"they need the headers of jaxlib 0.10, this is {version}"
    include = Path(jaxlib.origin).with_name("include") if jaxlib and jaxlib.origin else None
    if include is None or not (include / "xla" / "ffi" / "api" / "c_api.h").is_file():
        return "there was no jaxlib 0.10 to build with, whose headers they need"
    sources = sorted(str(path) for path in (root / SOURCES).glob("*.c"))
    arguments = [*FLAGS, f"-I{include}", "-o", str(library), *sources]
    try:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{shlex.join(command)} failed: {error}"
    if done.returncode or not library.is_file():
        errors = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        told = next((line for line in errors if "error" in line.lower()), errors[-1])
        return f"{shlex.join(command)} failed: {told.strip()}"
    return None


def _platform():
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
