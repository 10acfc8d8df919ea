"""Write a run folder for a trained model; `logvar.load` reads it back."""

from pathlib import Path

from logvar import scales
from logvar.assembly.decisions import CUSTOM_NETWORK
from logvar.fitted import Fitted
from logvar.runs.resuming import identity
from logvar.runs.units import write_units
from logvar.storage import run_folder
from logvar.storage.checkpoints import FOLDER, save_checkpoint
from logvar.storage.files import write_atomically
from logvar.storage.weights import save_arrays
from logvar.trainable import without_settings


def write_run(fitted: Fitted, folder: Path) -> None:
    """Write recipe, weights, state, metrics and manifest into an existing folder."""
    write_atomically(folder / run_folder.RECIPE, fitted.recipe.to_toml())
    save_arrays(folder / run_folder.WEIGHTS, without_settings(fitted.model)[0])
    write_units(fitted, folder)
    if fitted.state is not None:
        this = identity(fitted.recipe, fitted.data)
        step = int(fitted.state.step)
        save_checkpoint(folder / FOLDER, step, fitted.state, fitted.history, this)
    lines = "".join(run_folder.to_json_line(line) for line in fitted.history)
    write_atomically(folder / run_folder.METRICS, lines)
    run_folder.write_manifest(folder, _manifest(fitted))


def _manifest(fitted: Fitted) -> run_folder.Manifest:
    custom = {}
    if fitted.decisions.network == CUSTOM_NETWORK:
        networks = ("encoder", "decoder")
        custom = {part: type(getattr(fitted.model, part)).__qualname__ for part in networks}
    return run_folder.Manifest(
        shape=fitted.shape,
        dtype=fitted.dtype,
        likelihood=fitted.decisions.likelihood,
        network=fitted.decisions.network,
        divisor=fitted.preparation.divisor,
        data=fitted.data,
        ended=fitted.ended,
        epochs_run=len(fitted.history),
        custom=custom,
        scale=scales.describe(fitted.model.scale),
        diagnosis=str(fitted.diagnosis or ""),
        rescues=tuple(map(str, fitted.rescues)),
        missing=fitted.decisions.missing,
        bits=fitted.decisions.bits,
        labels={} if fitted.labels is None else fitted.labels.as_json(),
    )
