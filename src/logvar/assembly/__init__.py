"""Turn a recipe and data into the parts of a run.

`parts` lists all kinds of parts, `decisions` resolves "auto", `reading` says how
rows are read, `run` assembles the run.
"""

from logvar.assembly.decisions import check_values
from logvar.assembly.pseudo_inputs import TrainingRows
from logvar.assembly.reading import preparation, read, units_of
from logvar.assembly.run import (
    Own,
    Run,
    build_model,
    build_plan,
    build_run,
    skeleton,
)
from logvar.assembly.start import Start

__all__ = [
    "Own",
    "Run",
    "Start",
    "TrainingRows",
    "build_model",
    "build_plan",
    "build_run",
    "check_values",
    "preparation",
    "read",
    "skeleton",
    "units_of",
]
