"""`logvar score` and `logvar impute`: what the observed cells of each row say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logvar.backend.sparse import Rows
from logvar.cli.console import counted, say
from logvar.cli.inputs import all_rows, given_for
from logvar.cli.outputs import numbered, refuse_its_data, write_examples, write_numbers
from logvar.data.table.schema import Name
from logvar.errors import LogvarError
from logvar.explaining import OddCell
from logvar.loading import load
from logvar.storage.compiled import keep_compiled_programs

TOP = 3
"""How many odd cells of a row are written."""


def score(
    run: Path,
    data: str | None,
    data_dir: str | None,
    out: Path,
    explain: bool,
    importance_samples: int,
) -> None:
    """Write each row's log-likelihood beside its identifiers, and its oddest cells if asked."""
    keep_compiled_programs()
    vae = load(run)
    refuse_its_data(out, data or vae.recipe_.data.data)
    if explain:
        check_explains(out, vae.fitted_.shape)
    given = all_rows(vae, data, data_dir)
    scores = vae.score_samples(given.rows, importance_samples)
    odd = vae.explain(given.rows, TOP, importance_samples) if explain else []
    write_numbers(
        out, scores, ["log_likelihood"], given.identifiers, given.files,
        columns_of(odd) if explain else {},
    )  # fmt: skip
    if explain:
        say_lowest(scores, odd)


def impute(
    run: Path,
    data: str,
    data_dir: str | None,
    out: Path,
    draws: int,
    samples: int,
    seed: int | None,
) -> None:
    """Fill the missing cells of a file, and say how many and how well determined they are."""
    keep_compiled_programs()
    if draws < 0 or samples < 1:
        raise LogvarError(
            f"--draws is {draws} and --samples {samples}: expected at least 0 and at least 1"
        )
    outs = numbered(out, draws) if draws else [out]
    for path in outs:
        refuse_its_data(path, data)
    vae = load(run)
    given = all_rows(vae, data, data_dir)
    found = vae.imputation(given.rows, samples, draws=draws, random_state=seed)
    what = "missing cells drawn" if draws else "missing cells filled"
    for path, filled in zip(outs, found.draws if draws else [found.filled], strict=True):
        write_examples(vae, path, filled, given.files, what)
    say(_filled(given_for(vae.fitted_, given.rows).rows, found.effective_samples, samples))


def _filled(cells: Rows, effective: np.ndarray, samples: int) -> str:
    assert isinstance(cells, np.ndarray)  # a sparse matrix has no missing cells, and is refused
    holes = np.isnan(cells).reshape(len(cells), -1)
    if not holes.any():
        return f"no cell is missing in {counted(len(cells), 'row')}"
    some = effective[np.isfinite(effective)]
    return (
        f"{counted(int(holes.sum()), 'cell')} in {holes.any(1).sum():,} of "
        f"{counted(len(cells), 'row')} filled; effective "
        f"samples of {samples:,}: median {np.median(some):,.0f}, lowest {some.min():,.1f}"
    )


def check_explains(out: Path, shape: tuple[int, ...]) -> None:
    """Check that cells of examples of this shape can be explained, and written to this file.

    Raises:
        LogvarError: they cannot.
    """
    if out.suffix.lower() == ".npy":
        raise LogvarError(
            f"--explain writes names and values, and --out {out} holds numbers alone: give a .csv "
            "or .parquet file"
        )
    if len(shape) != 1:
        raise LogvarError(f"--explain is for tables, and these examples have shape {shape}")


def say_lowest(scores: np.ndarray, odd: Sequence[Sequence[OddCell]]) -> None:
    """Say which row has the lowest score, and its oddest cells."""
    row = int(np.argmin(scores))
    cells = ", ".join(f"{_name(c)} = {_text(c.value)} ({c.surprise:.1f})" for c in odd[row])
    say(
        f"lowest: row {row} with {scores[row]:.2f} nats; its oddest cells, and how many "
        f"nats less likely each is than usual for its column: {cells or 'none'}"
    )


def columns_of(odd: Sequence[Sequence[OddCell]]) -> dict[Name, list[Any]]:
    """Return the odd cells as three columns each: name, value, and surprise beyond the usual."""
    columns: dict[Name, list[Any]] = {}
    for i in range(TOP):
        cells = [row[i] if i < len(row) else None for row in odd]
        columns[f"odd{i + 1}"] = [cell and _name(cell) for cell in cells]
        columns[f"odd{i + 1}_value"] = [cell and _text(cell.value) for cell in cells]
        columns[f"odd{i + 1}_nats"] = [cell and round(cell.surprise, 3) for cell in cells]
    return columns


def _name(cell: OddCell) -> str:
    return f"x{cell.column}" if isinstance(cell.column, int) else str(cell.column).strip()


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).strip()
