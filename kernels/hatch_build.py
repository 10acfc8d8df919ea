"""Compiles the kernels when the package is built, where there is a compiler for them.

The result is one shared library beside the sources. Where it cannot be built, the package is
installed without it, stays inert and says why.
"""

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
FLAGS = ["-std=c11", "-O3", "-mavx512f", "-fPIC", "-shared", "-fvisibility=default", "-pthread"]


class CompileKernels(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version, build_data):
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        library = root / LIBRARY
        library.unlink(missing_ok=True)
        why_not = compiled(root, library)
        if why_not:
            self.app.display_warning(
                f"logvar-kernels is built without its kernels, and will be inert: {why_not}"
            )
            return
        build_data["artifacts"].append(str(LIBRARY))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def compiled(root, library):
    """Compile the kernels; return why not, where that cannot be."""
    if os.environ.get("LOGVAR_KERNELS") == "0":
        return "LOGVAR_KERNELS=0 leaves them out"
    if sys.platform not in ("linux", "darwin") or platform.machine() not in ("x86_64", "AMD64"):
        return (
            f"they are for x86-64 on Linux and macOS, this is {sys.platform} {platform.machine()}"
        )
    command = shlex.split(os.environ.get("CC", "cc"))
    if not shutil.which(command[0]):
        return f"there is no C compiler ({command[0]}); install one, or set CC, and install again"
    import jaxlib  # its headers: a requirement of the build

    include = Path(jaxlib.__file__).parent / "include"
    sources = sorted(str(path) for path in (root / SOURCES).glob("*.c"))
    command += [*FLAGS, f"-I{include}", "-o", str(library), *sources]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"{shlex.join(command)} failed: {done.stderr.strip().splitlines()[-1:]}"
    return None


def _platform():
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
