"""The folder where JAX keeps compiled programs, shared by all processes of a user.

A program loaded from it is the compiled one, so results are the same to the byte.
"""

import os
from pathlib import Path
from typing import Any

import jax

SWITCH = "LOGVAR_CACHE"


def keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, where later processes find them.

    LOGVAR_CACHE sets another folder; if it is the empty string, this is switched off. A cache
    folder already set for JAX (`JAX_COMPILATION_CACHE_DIR`, `jax_compilation_cache_dir`) is kept,
    and a cache that was switched off there stays off. A folder that is not writable is not used.
    JAX has one cache per process, so other programs of the process are kept there as well.
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
    # Also programs that compile quickly, because there are many.
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
