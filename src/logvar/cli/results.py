"""`logvar encode`, `decode`, `reconstruct` and `sample`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from logvar.cli import pictures
from logvar.cli.console import say
from logvar.cli.inputs import all_rows
from logvar.cli.labels import label_in
from logvar.cli.outputs import refuse_its_data, write_examples, write_numbers
from logvar.cli.samplers import fit_missing_sampler
from logvar.data import sources
from logvar.data.intake import draws_of
from logvar.data.table.frame import Table, as_table, is_table
from logvar.data.table.rows import columns_of_kinds, with_columns
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.loading import load
from logvar.storage.compiled import keep_compiled_programs


def encode(run: Path, data: str | None, data_dir: str | None, out: Path) -> None:
    """Write posterior means as z0, z1, …, beside a table's identifiers and labels."""
    vae = _opened(run, out, data)
    given = all_rows(vae, data, data_dir)
    codes = vae.transform(given.rows)
    write_numbers(out, codes, [f"z{i}" for i in range(codes.shape[1])], given.carried)


def decode(run: Path, latents: Path, out: Path, condition: Mapping[str, str] | None = None) -> None:
    """Write E[x | z] of the latents in a file, with the identifiers and labels beside them.

    A conditional model is told one condition for all of them.
    """
    vae = _opened(run, out, str(latents))
    pictures.check_images(vae, out)
    loaded, form = sources.load(str(latents)).train, vae.fitted_.table
    codes = _codes(loaded, str(latents)) if isinstance(loaded, Table) else loaded
    told = None if condition is None else _condition(vae, condition)
    decoded = vae.inverse_transform(codes, condition=told)
    if isinstance(loaded, Table) and form is not None and is_table(decoded):
        carried = columns_of_kinds(loaded, form.schema, ("identifier", "label"))
        decoded = with_columns(as_table(decoded), carried)
    write_examples(vae, out, decoded)


def reconstruct(run: Path, data: str | None, data_dir: str | None, out: Path) -> None:
    """Write E[x | z] at the posterior mean of each row."""
    vae = _opened(run, out, data)
    pictures.check_images(vae, out)
    given = all_rows(vae, data, data_dir)
    write_examples(vae, out, vae.reconstruct(given.rows), given.files)


def sample(
    run: Path,
    out: Path,
    n: int,
    mean: bool,
    missing: bool,
    seed: int | None,
    where: Mapping[str, str] | None = None,
    sampler: str = "prior",
    label: str | None = None,
    condition: Mapping[str, str] | None = None,
) -> None:
    """Draw examples from a run's model, of one label or with the cells of `where` if given.

    z is drawn from the prior, or from a sampler.
    """
    vae = _opened(run, out, None)
    draws_of(n, "--n")
    mean = pictures.check_images(vae, out) or mean
    told: dict[str, Any] = {} if label is None else {"label": label_in(vae, label)}
    if told and (where or sampler != "prior"):
        raise LogvarError("--label goes with neither --where nor --from: give one of them")
    what = "E[x | z]" if mean else "draws of x"
    if where and sampler != "prior":
        raise LogvarError(
            "--where draws z given those cells, and --from draws it from a sampler: give one of "
            "them"
        )
    if sampler != "prior":
        fit_missing_sampler(vae, run, sampler)
    if not where:
        if not told:
            told = {"sampler": sampler}
        if condition is not None:
            told["condition"] = _condition(vae, condition)
        drawn = vae.sample(n, mean=mean, missing=missing, random_state=seed, **told)
        write_examples(vae, out, drawn, what=what)
        return
    found = vae.sampling(
        n,
        where=where,
        mean=mean,
        missing=missing,
        random_state=seed,
        condition=None if condition is None else _condition(vae, condition),
    )
    given = ", ".join(f"{name}={value}" for name, value in where.items())
    write_examples(vae, out, found.rows, what=f"{what} given {given}")
    say(
        f"effective samples of {found.draws:,} draws of z: {found.effective_samples:,.0f}; log "
        f"p({given}) = {found.log_probability:.2f} nats under the model"
    )


def _condition(vae: VAE, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return a condition with the values that its texts stand for.

    Raises:
        LogvarError: the model was fitted without one, or a text does not fit.
    """
    form = vae.fitted_.conditions
    return dict(texts) if form is None else form.read(texts)


def _opened(run: Path, out: Path, data: str | None) -> VAE:
    """Load a run for a command that writes into `out`."""
    keep_compiled_programs()
    vae = load(run)
    refuse_its_data(out, data or vae.recipe_.data.data)
    return vae


def _codes(table: Table, name: str) -> np.ndarray:
    """Return the latents of a table, whatever identifiers and labels stand beside them."""
    from logvar.data.table.arrow import family, numbers

    numeric = [
        (str(name), column)
        for name, column in zip(table.names, table.columns, strict=True)
        if family(column.type) in ("integer", "float")
    ]
    # "latent0" is how earlier versions wrote them.
    named = [(n, column) for n, column in numeric if re.fullmatch(r"(z|latent)\d+", n)]
    chosen = sorted(named, key=lambda pair: int(re.sub(r"\D", "", pair[0]))) or numeric
    if not chosen:
        raise LogvarError(f"{name} has no numbers: expected latents in columns z0, z1, …")
    return np.column_stack([numbers(column) for _, column in chosen])
