"""The facts of the registered scales, recorded: they never change, and computing them takes JAX.

The file is written by `python -m logvar.catalogue.scale_facts src/logvar/scale_facts.json`, and a
test computes it again.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DTYPES = ("float32", "bfloat16", "float16")
SIGMAS = (1e-3, 1.0, 10.0)
_FILE = Path(__file__).with_suffix(".json")


@dataclasses.dataclass(frozen=True)
class Facts:
    """One row of the catalogue."""

    name: str
    formula: str
    reference: str
    preset: bool
    raw_at_one: float | None
    """The raw output at σ = 1; None if the scale does not reach 1."""
    sigma_at_zero: float
    slopes: tuple[float | None, ...]
    """d = d log σ/dr at each of `SIGMAS`; None if the scale does not reach it."""
    bounds: tuple[float, float]
    safe_ranges: tuple[tuple[float, float], ...]
    """For each of `DTYPES`, on the backend they were computed on; those recorded are a CPU's."""
    is_convex: bool

    @property
    def curvature(self) -> float | None:
        """KL″ at σ = 1, which equals the Fisher information 2d² there."""
        return None if self.slopes[1] is None else 2 * self.slopes[1] ** 2


def recorded() -> Mapping[str, Facts]:
    """Return the recorded facts of each scale that needs no settings, by name.

    Example:
        >>> from logvar.scale_facts import recorded
        >>> recorded()["log-std"].curvature
        2.0
    """
    entries = json.loads(_FILE.read_text(encoding="utf-8"))
    return {entry["name"]: Facts(**_read(entry)) for entry in entries}


def as_json(facts: list[Facts]) -> str:
    """Return the text of the file; an infinite bound is null."""
    entries = [dataclasses.asdict(each) for each in facts]
    for entry in entries:
        entry["bounds"] = [b if math.isfinite(b) else None for b in entry["bounds"]]
    return json.dumps(entries, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _read(entry: dict[str, Any]) -> dict[str, Any]:
    low, high = entry["bounds"]
    return entry | {
        "bounds": (low, math.inf if high is None else high),
        "slopes": tuple(entry["slopes"]),
        "safe_ranges": tuple(map(tuple, entry["safe_ranges"])),
    }
