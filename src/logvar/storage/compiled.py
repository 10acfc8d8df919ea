"""The folder in which JAX keeps compiled programs, shared by all processes of a user.

A program loaded from it is the one that was compiled, so results are the same to the byte.
"""

import os
from pathlib import Path
from typing import Any

import jax

SWITCH = "LOGVAR_CACHE"


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, where the next process finds them.

    LOGVAR_CACHE names another folder; set to the empty string, it switches this off. A cache folder
    that was set for JAX (`JAX_COMPILATION_CACHE_DIR`, `jax_compilation_cache_dir`) stays, as does a
    cache that was switched off there. A folder that cannot be written is not used. JAX has one
    cache in a process, so the process's other programs are kept in that folder as well.
    """
    config: Any = jax.config
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache:
        return
    folder = os.environ.get(SWITCH)
    if folder is None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = str(home / "logvar" / "compiled")
    if not folder or not _writable(Path(folder)):
        return
    config.update("jax_compilation_cache_dir", folder)
    # Programs that compile at once as well: they are many.
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
