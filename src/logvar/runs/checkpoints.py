"""Where and how often checkpoints are written: `logvar.Checkpoints`. No JAX, so help comes fast."""

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """A folder for checkpoints during training, and how often to write them.

    Args:
        folder: for checkpoints only; the newest two are kept.
        seconds: write one when this much time has passed since the last.
        epochs: also write one every this many epochs; 0 is off.
        changes_allowed: resume even if the recipe or the data have changed.
    """

    folder: str | os.PathLike
    seconds: int | float = 60
    epochs: int = 0
    changes_allowed: bool = False
