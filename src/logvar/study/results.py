"""The files of a comparison: what it keeps while it runs, and the tables that it writes."""

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from logvar.errors import LogvarError
from logvar.storage import run_folder
from logvar.storage.environment import changes
from logvar.storage.files import write_atomically, writing
from logvar.study.experiment import Experiment, Outcome, Unit

EXPERIMENT = "experiment.json"
PARTS = "parts"


def begin(
    folder: Path, experiment: Experiment, data: dict[str, Any], environment: dict[str, str]
) -> None:
    """Record what is compared, or check that the comparison started here is the same.

    Raises:
        LogvarError: the folder holds a comparison of other settings or other data.
    """
    path = folder / EXPERIMENT
    without = dataclasses.replace(experiment, own=(), told=None)  # whose hash is in the data
    content = dataclasses.asdict(without) | {"data": data}
    del content["own"], content["told"]
    stated = plain(content)
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else stated
    changed = [key for key in stated if stated[key] != before.get(key)]
    if changed:
        raise LogvarError(
            f"{folder} holds an unfinished comparison with other settings ({', '.join(changed)} "
            "differ): repeat it as it was, remove that folder, or choose another --out"
        )
    environments = before.get("environments", [])
    write_atomically(path, run_folder.to_json(stated | {"environments": environments}))
    record_environment(folder, environment)


def record_environment(folder: Path, environment: dict[str, str]) -> None:
    """Record that units were computed in this environment."""
    path = folder / EXPERIMENT
    stated = json.loads(path.read_text(encoding="utf-8"))
    if environment not in stated["environments"]:
        stated["environments"].append(environment)
        write_atomically(path, run_folder.to_json(stated))


def notes_of_environments(folder: Path) -> list[str]:
    """Return notes for the reader on units computed by other libraries, processors or kernels."""
    stated = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))
    first, *others = stated["environments"]
    moves = filter(None, (changes(first, later) for later in others))
    return [
        f"The comparison was {move}: runs before and after differ in their last bits"
        for move in moves
    ]


def write_outcome(parts: Path, unit: Unit, outcome: Outcome) -> None:
    """Write the results of a unit.

    Raises:
        LogvarError: they cannot be written.
    """
    with writing(parts):
        parts.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, outcome.row_elbos, allow_pickle=False)
    write_atomically(parts / f"{_file(unit)}.npy", buffer.getvalue())
    content = {"runs": outcome.runs, "curves": outcome.curves, "seconds": outcome.seconds}
    write_atomically(parts / f"{_file(unit)}.json", run_folder.to_json(plain(content)))


def read_outcome(parts: Path, unit: Unit) -> Outcome | None:
    """Return a unit's results from before a kill; the JSON is written last and completes them."""
    path = parts / f"{_file(unit)}.json"
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    runs = [{k: math.nan if v is None else v for k, v in line.items()} for line in content["runs"]]
    elbos = np.load(path.with_suffix(".npy"), allow_pickle=False)
    return Outcome(runs, elbos, content["curves"], content["seconds"])


def _file(unit: Unit) -> str:
    return "".join(c if c.isalnum() or c in "-." else "_" for c in unit.name)


def plain(value: Any) -> Any:
    """Convert to strict JSON: no NaN, no infinity, no tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_of(records: list[dict[str, Any]]) -> str:
    """Format a table as CSV; values that are not numbers become empty cells."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in plain(r).items()} for r in records)
    return text.getvalue()
