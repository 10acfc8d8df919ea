"""Objectives: the functions that training maximizes, in nats per example.

`base` is the contract; one objective per file; `registry` lists all.
"""

from logvar.objectives.base import Moment, Objective, draws
from logvar.objectives.registry import OBJECTIVES, describe, get, names

__all__ = ["OBJECTIVES", "Moment", "Objective", "describe", "draws", "get", "names"]
