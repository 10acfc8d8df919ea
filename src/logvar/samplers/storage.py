"""Samplers in a run folder: samplers/NAME/, with the text that describes each and its hashes."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from logvar.errors import LogvarError
from logvar.models.labelled import LabelledVAE
from logvar.models.vae import VAEModel
from logvar.samplers.base import FittedSampler, Sampler
from logvar.samplers.registry import SAMPLERS
from logvar.storage.files import UnfinishedFolder, sha256, write_atomically
from logvar.storage.run_folder import read_json, to_json

FOLDER = "samplers"
_MARKER = "sampler.json"


def write_samplers(run: Path, samplers: Mapping[str, FittedSampler]) -> None:
    """Write samplers, by their texts, into a run folder; one of the same name is replaced."""
    for text, sampler in samplers.items():
        place = run / FOLDER / name_of(text)
        place.parent.mkdir(exist_ok=True)
        folder = UnfinishedFolder(place, overwrite=True, marker=_MARKER)
        try:
            sampler.write(folder.path)
            files = sorted(p for p in folder.path.iterdir() if p.suffix == ".safetensors")
            marker = {"sampler": text, "hashes": {p.name: sha256(p) for p in files}}
            write_atomically(folder.path / _MARKER, to_json(marker))
            folder.publish()
        except BaseException:
            folder.discard()
            raise


def read_sampler(
    run: Path, name: str, latent_dim: int, load: Any, parts: Collection[type] = ()
) -> tuple[str, FittedSampler]:
    """Read a sampler's text and what was fitted.

    Args:
        run: the run folder.
        name: its name, without settings.
        latent_dim: the number of the run's latents.
        load: the function `logvar.load`.
        parts: the user's own classes.

    Raises:
        LogvarError: a file was changed, or the sampler is of a class that is not among `parts`.
    """
    folder = run / FOLDER / name
    marker = read_json(folder / _MARKER)
    fine = (
        isinstance(marker, dict)
        and isinstance(marker.get("sampler"), str)
        and name_of(marker["sampler"]) == name
        and isinstance(marker.get("hashes"), dict)
    )
    if not fine:
        raise LogvarError(f"{folder / _MARKER} does not describe sampler {name!r}; fit it again")
    for file in sorted(p for p in folder.iterdir() if p.suffix == ".safetensors"):
        if sha256(file) != marker["hashes"].get(file.name):
            raise LogvarError(
                f"{file} is not the file that was written (its hash differs): copy the folder "
                "again, or fit the sampler again"
            )
    sampler = SAMPLERS.extended(parts).get(marker["sampler"])
    return marker["sampler"], sampler.read(folder, latent_dim, load)


def saved_samplers(run: Path) -> list[str]:
    """Return the names of the samplers in a run folder, those of the user's own classes last."""
    found = {marker.parent.name for marker in (run / FOLDER).glob(f"*/{_MARKER}")}
    known = [name for name in SAMPLERS.names() if name in found]
    own = sorted(found - set(known))
    return known + [name for name in own if not name.startswith(".")]  # hidden: unfinished


def name_of(text: str) -> str:
    """Return a sampler's name without its settings."""
    return text.partition("(")[0].strip()


def kept_sampler(
    kept: Mapping[str, tuple[str, FittedSampler]], sampler: str | Sampler
) -> FittedSampler:
    """Return a fitted sampler by its name, or by the text or the settings it was fitted with.

    Raises:
        LogvarError: there is none, or it was fitted with other settings; or the name is unknown.
    """
    asked = sampler if isinstance(sampler, str) else SAMPLERS.describe(sampler)
    name = name_of(asked)
    text, found = kept.get(name, ("", None))
    # Texts as they are described, for those leave out settings at their defaults.
    if found is None or not (
        asked in (name, text) or SAMPLERS.describe(asked) == SAMPLERS.describe(text)
    ):
        SAMPLERS.get(asked)
        fitted = ", ".join(text for text, _ in kept.values()) or "none"
        raise LogvarError(
            f"sampler {asked!r} is not fitted (fitted: {fitted}): call fit_sampler(X, "
            f"{asked!r}) first, or use 'prior'"
        )
    return found


def check_sampled(model: VAEModel) -> None:
    """Check that a sampler of z alone goes with a model.

    Raises:
        LogvarError: z lies on a sphere, or the model needs a condition or a label beside z.
    """
    if model.posterior.support != "real":
        raise LogvarError(
            f"samplers draw real numbers, and this posterior lies on {model.posterior.support!r}: "
            "sample from the prior"
        )
    if isinstance(model, LabelledVAE):
        raise LogvarError(
            "samplers draw z alone, and this model decodes it with a label: sample from the prior, "
            "sample(label=…) or --label"
        )
    if model.condition_size:
        raise LogvarError(
            "samplers do not know the condition that this model needs: sample from the prior"
        )
