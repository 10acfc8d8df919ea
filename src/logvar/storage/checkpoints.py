"""Checkpoints: folders that are either complete or ignored.

checkpoints/
  000000000420/            named after the step
        state.safetensors      weights, optimizer, counters, best weights so far
        metrics.jsonl          the epochs so far
        checkpoint.json        the marker: written last, with the hashes of the others

    A checkpoint is written into a hidden folder, synced, renamed, and marked. A reader ignores any
    folder without a marker with correct hashes, and uses the newest valid one. An older one is
    removed only after the newer one has been read back.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from logvar.errors import LogvarError
from logvar.storage import run_folder
from logvar.storage.files import sha256, sync_folder, write_atomically, writing
from logvar.storage.weights import load_arrays, save_arrays

FOLDER = "checkpoints"
MARKER = "checkpoint.json"
STATE = "state.safetensors"
METRICS = "metrics.jsonl"
KEPT = 2
_STATISTIC, _STATISTIC_NOW = "totals.terms.residual", "totals.terms.statistic"
PLACES = {"data": "sha256", "from_run": "from_sha256"}
"""Settings that say where something lies, and the name of its hash in the identity of the data."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """The identity of a run (recipe and data), and the environment that computes it."""

    recipe: dict[str, Any]
    data: dict[str, Any]
    environment: dict[str, str]
    """From `storage.environment`; it may change while a run is stopped."""

    def differences(self, other: "Identity") -> list[str]:
        """Describe differences in recipe and data.

        More epochs do not count as one, nor does another place of the same data or weights.
        """
        found = []
        for what in ("recipe", "data"):
            mine, theirs = getattr(self, what), getattr(other, what)
            for key in sorted(mine.keys() | theirs.keys()):
                if what == "recipe" and (key == "epochs" or self._is_same_at(key, other)):
                    continue
                if mine.get(key) != theirs.get(key):
                    found.append(f"{key} was {theirs.get(key)!r}, is {mine.get(key)!r}")
        return found

    def _is_same_at(self, key: str, other: "Identity") -> bool:
        """Return whether a setting is a place, and what lies there has the same hash."""
        return key in PLACES and self.data.get(PLACES[key]) == other.data.get(PLACES[key])


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    step: int
    identity: Identity
    history: list[dict[str, Any]]

    def state(self, skeleton: PyTree) -> PyTree:
        """Load its training state.

        Raises:
            LogvarError: the state does not fit the skeleton.
        """
        # Version 0.1 had one name for the statistic, and wrote it even if there was none.
        return load_arrays(
            self.path / STATE, skeleton, ignored=(_STATISTIC,), renamed={_STATISTIC_NOW: _STATISTIC}
        )


def save_checkpoint(
    folder: Path, step: int, state: PyTree, history: list[dict[str, Any]], identity: Identity
) -> Checkpoint:
    """Write a checkpoint, read it back, and remove all but the newest `KEPT`.

    Raises:
        LogvarError: the folder cannot be written; every earlier checkpoint is then unchanged.
    """
    final = folder / f"{step:012d}"
    partial = folder / f".{final.name}.partial"
    with writing(final):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    save_arrays(partial / STATE, state)
    write_atomically(partial / METRICS, "".join(map(run_folder.to_json_line, history)))
    with writing(final):
        if final.exists():
            # The same step again: for the same run it has the same bytes.
            shutil.rmtree(final)
        partial.rename(final)
        sync_folder(folder)
    hashes = {name: sha256(final / name) for name in (STATE, METRICS)}
    marker = {
        "format": run_folder.FORMAT,
        "step": step,
        "hashes": hashes,
        **dataclasses.asdict(identity),
    }
    write_atomically(final / MARKER, run_folder.to_json(marker))
    written = read_checkpoint(final)
    with writing(folder):
        for older in sorted(_named(folder))[:-KEPT]:
            shutil.rmtree(older)
        for leftover in folder.glob(".*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
    return written


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest complete checkpoint, and why newer ones were skipped."""
    passed_over: list[str] = []
    for path in sorted(_named(folder), reverse=True):
        try:
            return read_checkpoint(path), passed_over
        except LogvarError as error:
            passed_over.append(str(error))
    return None, passed_over


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint's marker and check its files against it.

    Raises:
        LogvarError: there is no marker, or it does not belong to these files.
    """
    marker = path / MARKER
    if not marker.is_file():
        raise LogvarError(f"{path} has no {MARKER}: it was never finished")
    content = run_folder.read_json(marker)
    expected = {"format": int, "step": int, "hashes": dict, "recipe": dict, "data": dict}
    if not isinstance(content, dict) or any(
        not isinstance(content.get(key), kind) for key, kind in expected.items()
    ):
        raise LogvarError(f"{marker} is not a marker of logvar: the file was changed")
    if content["format"] not in run_folder.READ:
        raise LogvarError(
            f"{path} has format {content['format']}, this version reads formats "
            f"{' and '.join(map(str, run_folder.READ))}"
        )
    for name in (STATE, METRICS):
        file = path / name
        if not file.is_file() or sha256(file) != content["hashes"].get(name):
            raise LogvarError(f"{file} is not the file that was checkpointed (its hash differs)")
    # Checkpoints of version 0.1 have "versions", without the processor.
    environment = content.get("environment", content.get("versions"))
    if not isinstance(environment, dict):
        raise LogvarError(f"{marker} is not a marker of logvar: the file was changed")
    identity = Identity(content["recipe"], content["data"], environment)
    return Checkpoint(path, content["step"], identity, run_folder.read_lines(path / METRICS))


def _named(folder: Path) -> list[Path]:
    """Return folders with a checkpoint's name."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
