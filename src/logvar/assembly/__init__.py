"""Turn a recipe and data into the parts of a run.

`parts` lists all kinds of parts, `training_data` has the rows of a fit and what belongs to them,
`decisions` resolves "auto", `reading` says how rows are read, `model` builds the model, `run`
assembles the run.
"""

from logvar.assembly.decisions import check_values
from logvar.assembly.model import Own, build_model, skeleton
from logvar.assembly.plan import build_plan
from logvar.assembly.pseudo_inputs import TrainingRows
from logvar.assembly.reading import preparation, read, units_of
from logvar.assembly.run import Run, build_run
from logvar.assembly.start import Start
from logvar.assembly.training_data import TrainingData

__all__ = [
    "Own",
    "Run",
    "Start",
    "TrainingData",
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
