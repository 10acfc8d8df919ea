"""What a run folder gets of a fitted estimator; `logvar.load` reads it back."""

from pathlib import Path
from typing import TYPE_CHECKING

from logvar import scales
from logvar.data.standardization import ARRAYS
from logvar.resuming import identity
from logvar.storage import run_folder
from logvar.storage.checkpoints import FOLDER, save_checkpoint
from logvar.storage.files import write_atomically
from logvar.storage.weights import save_arrays, save_float64

if TYPE_CHECKING:
    from logvar.estimator import VAE


def write_run(vae: "VAE", folder: Path) -> None:
    """Write recipe, weights, state, metrics and manifest into a folder that exists."""
    write_atomically(folder / run_folder.RECIPE, vae.recipe_.to_toml())
    save_arrays(folder / run_folder.WEIGHTS, vae.model_)
    if vae._standardization is not None:
        arrays = {name: getattr(vae._standardization, name) for name in ARRAYS}
        save_float64(folder / run_folder.STANDARDIZATION, arrays)
    if vae.state_ is not None:
        this = identity(vae.recipe_, vae.data_)
        save_checkpoint(folder / FOLDER, int(vae.state_.step), vae.state_, vae.history_, this)
    lines = "".join(run_folder.to_json_line(line) for line in vae.history_)
    write_atomically(folder / run_folder.METRICS, lines)
    run_folder.write_manifest(folder, _manifest(vae))


def _manifest(vae: "VAE") -> run_folder.Manifest:
    custom = {}
    if vae.decisions_.network == "custom":
        custom = {
            part: type(getattr(vae.model_, part)).__qualname__ for part in ("encoder", "decoder")
        }
    return run_folder.Manifest(
        shape=vae._shape,
        dtype=vae._dtype,
        likelihood=vae.decisions_.likelihood,
        network=vae.decisions_.network,
        divisor=vae._preparation.divisor,
        data=vae.data_,
        ended=vae.ended_,
        epochs_run=vae.n_iter_,
        custom=custom,
        scale=scales.describe(vae.model_.scale),
        diagnosis=str(getattr(vae, "diagnosis_", None) or ""),
        rescues=tuple(map(str, getattr(vae, "rescues_", ()))),
    )
