"""`logvar convert`: a run under another scale."""

import dataclasses
from pathlib import Path

from logvar import scales
from logvar.cli.console import say
from logvar.cli.inputs import given_for, load_for
from logvar.loading import load
from logvar.runs.converting import convert_fitted
from logvar.runs.loading import load_state
from logvar.storage import run_folder
from logvar.storage.compiled import keep_compiled_programs
from logvar.storage.files import UnfinishedFolder, write_atomically


def convert(
    run: Path,
    data: str | None,
    data_dir: str | None,
    scale: str,
    out: Path | None,
    overwrite: bool,
    match: bool,
) -> None:
    """Convert a run to another scale, write it, and print what that changes."""
    keep_compiled_programs()
    scales.get(scale)
    vae = load(run)
    fitted = vae.fitted_
    fitted = dataclasses.replace(fitted, state=load_state(fitted, run))
    rows, name = load_for(fitted, data, data_dir).train, data or fitted.recipe.data.data
    given = given_for(fitted, rows, name)
    converted, change = convert_fitted(fitted, scale, given, match=match)
    in_a_name = "".join(c if c.isalnum() or c in "-_." else "_" for c in scale)
    target = out or run.with_name(f"{run.resolve().name}-{in_a_name}")
    folder = UnfinishedFolder(target, overwrite=overwrite, marker=run_folder.MANIFEST)
    try:
        stated = {"from": fitted.recipe.model.scale, "to": scale} | dataclasses.asdict(change)
        write_atomically(folder.path / run_folder.CONVERSION, run_folder.to_json(stated))
        vae.around(converted).write_into(folder.path)
        path = folder.publish()
    except BaseException:
        folder.discard()
        raise
    say(str(change))
    reference = converted.recipe.training.match
    if reference:
        say(f"training continues as under {reference} (match)")
    say(f"run     {path}")
