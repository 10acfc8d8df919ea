"""The run folder: the name of each file, and how to tell that a folder is complete.

recipe.toml           everything needed to repeat the run
weights.safetensors   the best weights
standardization.safetensors
                      for real values: what was subtracted and divided by, in float64
schema.toml           for a table: the kind of each column and why; an edited copy of it may be
                      given to the next run
table.safetensors     for a mixed likelihood: the maps of its columns, in float64
features.json         for rows of an AnnData object: the names of their columns
condition.toml        of a conditional model: the columns of its condition, and some of their rows
outliers.json         of an outlier detector: its threshold
metrics.jsonl         one line per epoch, without clocks: the same run gives the same bytes
timing.jsonl          the clocks
evaluation.json       the final figures with their protocols
checkpoints/          training states to resume from (storage.checkpoints)
report.html           the report
conversion.json       for a run converted to another scale: what that changed
manifest.json         written last: format version, versions, data, hashes of the others
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from logvar.errors import LogvarError
from logvar.storage.environment import environment
from logvar.storage.files import sha256, write_atomically

FORMAT = 2
READ = (1, 2)
"""The formats that can be read. 1 is that of version 0.1, with a setting for each number."""
RECIPE = "recipe.toml"
WEIGHTS = "weights.safetensors"
STANDARDIZATION = "standardization.safetensors"
SCHEMA = "schema.toml"
TABLE_UNITS = "table.safetensors"
FEATURES = "features.json"
CONDITION = "condition.toml"
OUTLIERS = "outliers.json"
METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
EVALUATION = "evaluation.json"
CONVERSION = "conversion.json"
MANIFEST = "manifest.json"
REPORT = "report.html"
HASHED = (
    RECIPE,
    WEIGHTS,
    STANDARDIZATION,
    SCHEMA,
    TABLE_UNITS,
    FEATURES,
    CONDITION,
    OUTLIERS,
    METRICS,
)
_LARGEST_JSON = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The contents of a run folder's manifest."""

    shape: tuple[int, ...]
    """The shape of one example."""
    dtype: str
    """The dtype of examples in the data's own units: uint8, float32 or float64."""
    likelihood: str
    """The likelihood that `auto` chose."""
    network: str
    divisor: float
    data: dict[str, Any]
    """Name, rows and fingerprint of the training data."""
    ended: str
    epochs_run: int
    custom: dict[str, str]
    """Class names of the user's own networks, if there are any."""
    scale: str = ""
    """The scale of these weights: the recipe's, with bounds if a rescue added them."""
    diagnosis: str = ""
    """The diagnosis, if a number that was not finite ended the run."""
    rescues: tuple[str, ...] = ()
    """A diagnosis for each rescue."""
    missing: bool = False
    """Whether the training rows have missing cells."""
    bits: bool = False
    """Whether all training values are 0 or 1."""
    format: int = FORMAT
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """The environment that computed the run: `storage.environment`."""
    hashes: dict[str, str] = dataclasses.field(default_factory=dict)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Hash the files of a folder and write its manifest; from then on the run is complete."""
    hashes = {name: sha256(folder / name) for name in HASHED if (folder / name).is_file()}
    complete = dataclasses.replace(manifest, hashes=hashes, versions=environment())
    write_atomically(folder / MANIFEST, to_json(dataclasses.asdict(complete)))


def check_finished(folder: Path) -> None:
    """Check that a folder has a finished run, by the name of its manifest alone.

    Raises:
        LogvarError: the folder does not exist, or has no manifest.
    """
    if not folder.is_dir():
        raise LogvarError(f"{folder} is not a folder: expected a run folder that logvar wrote")
    if not (folder / MANIFEST).is_file():
        raise LogvarError(
            f"{folder} has no {MANIFEST}: it is not a run folder, or its run never finished; "
            "fit again, or give another folder"
        )


def read_manifest(folder: Path) -> Manifest:
    """Read and verify a run folder's manifest.

    Raises:
        LogvarError: the folder is not a run folder or is unfinished, its format is another, or
            the hash of a file differs.
    """
    check_finished(folder)
    path = folder / MANIFEST
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise LogvarError(f"{path} is not a manifest of logvar: expected a table with 'format'")
    if content["format"] not in READ:
        raise LogvarError(
            f"{folder} has format {content['format']}, this version reads formats "
            f"{' and '.join(map(str, READ))}: use the "
            f"logvar version in {path}, or fit again"
        )
    fields = {field.name for field in dataclasses.fields(Manifest)}
    required = {
        "shape", "dtype", "likelihood", "network", "divisor", "hashes", "data", "ended",
        "epochs_run", "custom",
    }  # fmt: skip
    missing = (fields & required) - content.keys()
    if missing or content.keys() - fields:
        wrong = min(missing or content.keys() - fields)
        raise LogvarError(f"{path}: entry {wrong!r} is missing or unknown; the file was changed")
    _check_manifest_types(path, content)
    for name, expected in content["hashes"].items():
        if name not in HASHED:
            raise LogvarError(f"{path} names the file {name!r}, which no run folder has")
        if not (folder / name).is_file():
            raise LogvarError(f"{folder} lacks {name}: copy the whole folder, or fit again")
        if sha256(folder / name) != expected:
            raise LogvarError(
                f"{folder / name} is not the file this run wrote (its hash differs): copy the "
                "folder again, or fit again"
            )
    content["shape"] = tuple(content["shape"])
    content["rescues"] = tuple(content.get("rescues", ()))
    return Manifest(**content)


def _check_manifest_types(path: Path, content: dict[str, Any]) -> None:
    shape = content["shape"]
    fine = (
        isinstance(shape, list)
        and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)
        and 1 <= len(shape) <= 8
        and content["dtype"] in ("uint8", "float32", "float64")
        and all(isinstance(content[key], str) for key in ("likelihood", "network"))
        and isinstance(content["divisor"], (int, float))
        and math.isfinite(content["divisor"])
        and content["divisor"] > 0
        and isinstance(content["hashes"], dict)
        and {RECIPE, WEIGHTS} <= content["hashes"].keys()
        and all(isinstance(content.get(key, {}), dict) for key in ("custom", "data", "versions"))
        and all(isinstance(v, str) for v in content.get("custom", {}).values())
        and all(isinstance(content.get(key, ""), str) for key in ("ended", "diagnosis", "scale"))
        and type(content.get("epochs_run", 0)) is int
        and all(isinstance(content.get(key, False), bool) for key in ("missing", "bits"))
        and isinstance(content.get("rescues", []), list)
        and all(isinstance(text, str) for text in content.get("rescues", []))
    )
    if not fine:
        raise LogvarError(f"{path} has entries of the wrong kind; the file was changed: fit again")


def to_json(value: Any) -> str:
    """Format as JSON: strict, indented, ending in a newline.

    Infinities and NaN, which JSON does not have, are written as text.
    """
    return json.dumps(_strict(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_json_line(value: Any) -> str:
    """Format one line of a .jsonl file."""
    return json.dumps(_strict(value), ensure_ascii=False, allow_nan=False) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file of reasonable size.

    Raises:
        LogvarError: the file is too large, unreadable or not JSON.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise LogvarError(f"{path} has {path.stat().st_size} bytes: too large for what it is")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, LogvarError):
            raise
        raise LogvarError(
            f"{path} cannot be read as JSON ({error}); the file was changed"
        ) from error


def read_recipe(folder: Path) -> str:
    """Read the text of a run's recipe.

    Raises:
        LogvarError: the file is missing, too large or not text.
    """
    path = folder / RECIPE
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise LogvarError(f"{path} has {path.stat().st_size} bytes: too large for a recipe")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LogvarError(f"{path} cannot be read ({error}); the file was changed") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a .jsonl file.

    Raises:
        LogvarError: a line is not JSON.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise LogvarError(f"{path} cannot be read ({error}); the file was changed") from error
