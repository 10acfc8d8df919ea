"""`logvar encode`, `decode`, `reconstruct` and `sample`."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from logvar.assembly.tables import ARRAY
from logvar.cli import pictures
from logvar.cli.blocks import Block, over_blocks, rows_at_once, spans
from logvar.cli.console import say
from logvar.cli.inputs import all_rows
from logvar.cli.labels import label_in
from logvar.cli.outputs import Examples, Numbers, refuse_its_data
from logvar.cli.samplers import fit_missing_sampler
from logvar.data import sources
from logvar.data.intake import draws_of, seed_of
from logvar.data.table.frame import Table, as_table, is_table
from logvar.data.table.rows import columns_of_kinds, rows_between, with_columns
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.loading import load
from logvar.sampling import sampling_where
from logvar.storage.compiled import keep_compiled_programs


def encode(run: Path, data: str | None, data_dir: str | None, out: Path) -> None:
    """Write posterior means as z0, z1, …, beside a table's identifiers and labels, or files."""
    vae = opened(run, out, data)
    given = all_rows(vae, data, data_dir)
    latents = vae.fitted_.latent_dim
    names = [f"z{i}" for i in range(latents)]

    def write(blocks: Iterator[Block]) -> None:
        with Numbers(out, len(given), names) as file:
            for block in blocks:
                file.append(np.asarray(vae.transform(block.taken)), block.carried)

    over_blocks(given, vae.fitted_, write, latents)


def decode(run: Path, latents: Path, out: Path, condition: Mapping[str, str] | None = None) -> None:
    """Write E[x | z] of the latents in a file, with the identifiers and labels beside them.

    A conditional model is told one condition for all of them.
    """
    vae = opened(run, out, str(latents))
    pictures.check_images(vae, out)
    loaded, form = sources.load(str(latents)).train, vae.fitted_.table
    told = None if condition is None else _condition(vae, condition)
    carried = None
    codes = loaded
    if isinstance(loaded, Table):
        codes = _codes(loaded, str(latents))
        if form is not None:
            carried = columns_of_kinds(loaded, form.schema, ("identifier", "label"))
    each = 8 * (codes.shape[-1] + math.prod(vae.fitted_.shape))
    with Examples(vae, out, len(codes)) as file:
        for start, stop in spans(len(codes), rows_at_once(each)):
            decoded = vae.inverse_transform(codes[start:stop], condition=told)
            if carried is not None and is_table(decoded):
                decoded = with_columns(as_table(decoded), rows_between(carried, start, stop))
            file.append(decoded)


def reconstruct(run: Path, data: str | None, data_dir: str | None, out: Path) -> None:
    """Write E[x | z] at the posterior mean of each row."""
    vae = opened(run, out, data)
    pictures.check_images(vae, out)
    given = all_rows(vae, data, data_dir)

    def write(blocks: Iterator[Block]) -> None:
        with Examples(vae, out, len(given), given.files) as file:
            for block in blocks:
                file.append(vae.reconstruct(block.taken))

    over_blocks(given, vae.fitted_, write, math.prod(vae.fitted_.shape))


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
    vae = opened(run, out, None)
    draws_of(n, "--n")
    check_seed(seed)
    mean = pictures.check_images(vae, out) or mean
    if label is not None and (where or sampler != "prior"):
        raise LogvarError("--label cannot be combined with --where or --from: give one of them")
    if where and sampler != "prior":
        raise LogvarError(
            "--where draws z given those cells, and --from draws it from a sampler: give one of "
            "them"
        )
    told = None if condition is None else _condition(vae, condition)
    settings: dict[str, Any] = {"mean": mean, "missing": missing, "condition": told}
    what = "E[x | z]" if mean else "draws of x"
    if where:
        seed = vae.fitted_.seed if seed is None else seed_of(seed)
        found = sampling_where(vae.fitted_, where, n, seed, **settings)
        given = ", ".join(f"{name}={value}" for name, value in where.items())
        _write_draws(vae, out, n, found.rows, f"{what} given {given}")
        say(
            f"effective samples of {found.draws:,} draws of z: {found.effective_samples:,.0f}; log "
            f"p({given}) = {found.log_probability:.2f} nats under the model"
        )
        return
    if sampler != "prior":
        fit_missing_sampler(vae, run, sampler)
        settings["sampler"] = sampler
    if label is not None:
        settings["label"] = label_in(vae, label)
    _write_draws(vae, out, n, vae.sampling_in_blocks(random_state=seed, **settings), what)


def _write_draws(vae: VAE, out: Path, n: int, drawn: Callable[[int], Any], what: str) -> None:
    """Write n rows, drawn one block after another."""
    each = 16 * math.prod(vae.fitted_.shape)
    with Examples(vae, out, n, what=what) as file:
        for start, stop in spans(n, rows_at_once(each)):
            file.append(drawn(stop - start))


def check_seed(seed: int | None) -> None:
    """Check a seed that a flag gives.

    Raises:
        LogvarError: it is negative or too large.
    """
    if seed is not None and not 0 <= seed < 2**31:
        raise LogvarError(f"--seed is {seed}: expected an integer from 0 to 2147483647")


def _condition(vae: VAE, texts: Mapping[str, str]) -> Mapping[Any, Any]:
    """Return a condition with the values that its texts stand for.

    Raises:
        LogvarError: the model was fitted without one, or a text does not fit.
    """
    form = vae.fitted_.conditions
    return dict(texts) if form is None else form.read(texts)


def opened(run: Path, out: Path, data: str | None) -> VAE:
    """Load a run for a command that writes into `out`."""
    keep_compiled_programs()
    vae = load(run)
    refuse_its_data(out, data or vae.recipe_.data.data)
    form = vae.fitted_.table
    if form is not None and form.container != ARRAY:
        # Files are tables of Arrow's types, whatever frame the run was fitted on.
        form = dataclasses.replace(form, container="arrow")
        vae.fitted_ = dataclasses.replace(vae.fitted_, table=form)
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
