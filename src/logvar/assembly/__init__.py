"""Turn a recipe and data into the parts of a run.

`parts` lists all kinds of parts, `decisions` resolves "auto", `run` assembles the run.
"""

from logvar.assembly.decisions import check_values
from logvar.assembly.plan import build_plan
from logvar.assembly.run import (
    Own,
    Run,
    build_model,
    build_run,
    preparation,
    read,
    skeleton,
    units_of,
)

__all__ = [
    "Own",
    "Run",
    "build_model",
    "build_plan",
    "build_run",
    "check_values",
    "preparation",
    "read",
    "skeleton",
    "units_of",
]
