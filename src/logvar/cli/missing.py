"""`logvar score` and `logvar impute`: what the observed cells of each row say."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logvar.backend.sparse import Rows
from logvar.cli.blocks import Block, over_blocks
from logvar.cli.console import counted, say
from logvar.cli.inputs import all_rows
from logvar.cli.outputs import Examples, Numbers, numbered, refuse_its_data
from logvar.cli.results import check_seed, opened
from logvar.cli.terminal import at_least_one
from logvar.data.table.schema import Name
from logvar.errors import LogvarError
from logvar.explaining import OddCell

TOP = 3
"""How many odd cells of a row are written."""
ODD_CELLS = 128
"""Numbers that take as much memory as the odd cells of a row."""
_ODD = 0.1
"""The nats below the usual from which a cell is called odd."""


def score(
    run: Path,
    data: str | None,
    data_dir: str | None,
    out: Path,
    explain: bool,
    importance_samples: int,
) -> None:
    """Write each row's log-likelihood beside its identifiers, and its oddest cells if asked."""
    at_least_one("--importance-samples", importance_samples)
    vae = opened(run, out, data)
    fitted = vae.fitted_
    if explain:
        check_explains(out, fitted.shape)
    given = all_rows(vae, data, data_dir)

    def write(blocks: Iterator[Block]) -> Lowest:
        lowest = Lowest()
        with Numbers(out, len(given), ["log_likelihood"]) as file:
            for block in blocks:
                scores = vae.score_samples(block.taken, importance_samples)
                odd = vae.explain(block.taken, TOP, importance_samples) if explain else []
                file.append(scores, block.identifiers, columns_of(odd) if explain else {})
                lowest.look_at(scores, odd, block.start)
        return lowest

    lowest = over_blocks(given, fitted, write, ODD_CELLS if explain else 1)
    if explain:
        lowest.say()


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
    if draws < 0 or samples < 1:
        raise LogvarError(
            f"--draws is {draws} and --samples {samples}: expected at least 0 and at least 1"
        )
    check_seed(seed)
    outs = numbered(out, draws) if draws else [out]
    for path in outs:
        refuse_its_data(path, data)
    vae = opened(run, out, data)
    fitted = vae.fitted_
    given = all_rows(vae, data, data_dir)
    what = "missing cells drawn" if draws else "missing cells filled"

    def write(blocks: Iterator[Block]) -> _Holes:
        holes = _Holes()
        with contextlib.ExitStack() as stack:
            files = [Examples(vae, path, len(given), given.files, what) for path in outs]
            for file in files:
                stack.enter_context(file)
            for block in blocks:
                found = vae.imputation(block.taken, samples, draws=draws, random_state=seed)
                for file, rows in zip(files, found.draws or [found.filled], strict=True):
                    file.append(rows)
                holes.look_at(block.taken.rows, found.effective_samples)
        return holes

    holes = over_blocks(given, fitted, write, (2 + draws) * math.prod(fitted.shape))
    say(holes.said(samples))


class _Holes:
    """How many cells were filled, and the effective samples of their rows."""

    def __init__(self) -> None:
        self.rows = self.with_holes = self.cells = 0
        self.effective: list[np.ndarray] = []

    def look_at(self, cells: Rows, effective: np.ndarray) -> None:
        assert isinstance(cells, np.ndarray)  # a sparse matrix is refused
        self.rows += len(cells)
        holes = np.isnan(cells).reshape(len(cells), -1).sum(1)
        self.with_holes += int((holes > 0).sum())
        self.cells += int(holes.sum())
        self.effective.append(effective[np.isfinite(effective)])

    def said(self, samples: int) -> str:
        rows, some = counted(self.rows, "row"), np.concatenate(self.effective)
        if not self.cells:
            return f"no cell is missing in {rows}"
        found = "no row has a finite number"
        if len(some):
            found = f"median {np.median(some):,.0f}, lowest {some.min():,.1f}"
        return (
            f"{counted(self.cells, 'cell')} in {self.with_holes:,} of {rows} filled; effective "
            f"samples of {samples:,}: {found}"
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


class Lowest:
    """The row with the lowest score so far, and its oddest cells."""

    def __init__(self) -> None:
        self._row, self._score = -1, math.inf
        self._odd: Sequence[OddCell] = ()

    def look_at(self, scores: np.ndarray, odd: Sequence[Sequence[OddCell]], first: int = 0) -> None:
        """Compare the next rows, of which the first has this number."""
        row = int(np.argmin(scores))
        if odd and (self._row < 0 or scores[row] < self._score):
            self._row, self._score, self._odd = first + row, scores[row], odd[row]

    def say(self) -> None:
        """Say which row it is, and its oddest cells."""
        odd = [cell for cell in self._odd if cell.surprise >= _ODD]
        cells = ", ".join(f"{_name(c)} = {_text(c.value)} ({c.surprise:.1f})" for c in odd)
        say(
            f"lowest: row {self._row} with {self._score:.2f} nats; its oddest cells, and how many "
            f"nats less likely each is than usual for its column: {cells or 'none'}"
        )


def columns_of(odd: Sequence[Sequence[OddCell]]) -> dict[Name, Any]:
    """Return the odd cells as three columns each: name, value, and surprise beyond the usual.

    Their types do not depend on the cells, for the rows may be one block of many.
    """
    import pyarrow as pa

    columns: dict[Name, Any] = {}
    for i in range(TOP):
        cells = [row[i] if i < len(row) else None for row in odd]
        names = [cell and _name(cell) for cell in cells]
        values = [cell and _text(cell.value) for cell in cells]
        surprises = [cell and round(cell.surprise, 3) for cell in cells]
        columns[f"odd{i + 1}"] = pa.array(names, pa.string())
        columns[f"odd{i + 1}_value"] = pa.array(values, pa.string())
        columns[f"odd{i + 1}_nats"] = pa.array(surprises, pa.float64())
    return columns


def _name(cell: OddCell) -> str:
    return f"x{cell.column}" if isinstance(cell.column, int) else str(cell.column).strip()


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value).strip()
