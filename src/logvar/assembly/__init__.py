"""From a recipe and data to the parts of a run.

`parts` has all kinds of parts in one place, `decisions` what "auto" stands for, `run` the run.
"""

from logvar.assembly.run import (
    Own,
    Run,
    build_model,
    build_plan,
    build_run,
    preparation,
    read,
    skeleton,
    standardization,
)

__all__ = [
    "Own",
    "Run",
    "build_model",
    "build_plan",
    "build_run",
    "preparation",
    "read",
    "skeleton",
    "standardization",
]
