"""Delimited text: its encoding, its delimiter, its header, and its cells as texts."""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from logvar.data.table.header import has_header
from logvar.data.table.texts import MARKS
from logvar.errors import LogvarError

SAMPLE = 200
"""The delimiter, the width and the header are found from so many records."""
LARGE = 1 << 24
"""Bytes from which on plain numbers are read by Arrow itself, without a note of the marks."""
_HEAD = 1 << 20
_DELIMITERS = ("\t", ";", "|", ",")
_SHOWN = {"\t": "tabs", ";": "semicolons", "|": "bars", " ": "blanks"}
_ROW_LABELS = re.compile(r"(Unnamed: 0(\.\d+)?)?")


class Parts(NamedTuple):
    """A file's columns, most of them as texts, and what was found on the way."""

    names: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]
    delimiter: str
    remarks: tuple[str, ...]
    row_labels: tuple[str, ...]
    samples: tuple[list[str], ...]
    """For each column some of its cells as texts, if Arrow has read it as numbers."""


def read(path: Path, header: str) -> Parts:
    """Read the cells of a file as texts.

    Raises:
        LogvarError: the file is empty or no text, or its rows are of different lengths.
    """
    text, remarks = _text(path)
    if text.lower().startswith("sep=") and len(text.split("\n", 1)[0].strip()) == 5:
        text = text.split("\n", 1)[1]  # Excel's own line
    delimiter, text = _delimiter(text, path)
    if delimiter in _SHOWN and not str(path).lower().endswith((".tsv", ".tsv.gz")):
        remarks.append(f"cells are separated by {_SHOWN[delimiter]}")
    records = _sample(text, delimiter)
    first, rest = records[0].cells, [record.cells for record in records[1:]]
    width = Counter(map(len, rest or [first])).most_common(1)[0][0]
    named, remark = (header == "yes", "") if header != "auto" else has_header(first, rest)
    remarks += [remark] * bool(remark)
    if named and not rest:
        raise LogvarError(f"{path} has a header and no rows: expected some below it")
    ends = all(not row[-1] for row in rest if len(row) == width)
    names = _header(first, width, ends, path) if named else [f"x{i}" for i in range(width)]
    body = text[records[0].end :] if named else text
    before = text[: len(text) - len(body)].count("\n")
    columns = _columns(path, body, delimiter, _kinds(rest, width, body), before)
    samples = [
        [row[i] for row in rest if len(row) == width and row[i] not in MARKS]
        if pa.types.is_floating(column.type)
        else []
        for i, column in enumerate(columns)
    ]
    return _named(names, columns, samples, delimiter, remarks)


class _Record(NamedTuple):
    cells: list[str]
    end: int
    """Where in the text the next record starts."""


def _sample(text: str, delimiter: str) -> list[_Record]:
    """Return the first records, from the beginning of the text if it is long."""
    if len(text) > _HEAD:
        records = list(_records(text[:_HEAD], delimiter, SAMPLE))[:-1]  # the last may be cut off
        if len(records) > 1:
            return records
    return list(_records(text, delimiter, SAMPLE))


def _records(text: str, delimiter: str, at_most: int) -> Iterator[_Record]:
    position = 0

    def lines() -> Iterator[str]:
        nonlocal position
        for line in io.StringIO(text, newline=""):
            position += len(line)
            yield line

    try:
        for cells in csv.reader(lines(), delimiter=delimiter):
            if cells:
                yield _Record([cell.strip() for cell in cells], position)
                at_most -= 1
            if not at_most:
                return
    except csv.Error as error:
        raise LogvarError(
            f"the text cannot be read as a table ({error}): close the quotation mark of that cell, "
            "or leave its column out"
        ) from error


def _text(path: Path) -> tuple[str, list[str]]:
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise LogvarError(f"{path} cannot be read ({error}): copy it again") from error
    remarks = []
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        # Every byte has a meaning in it; files of this kind come from Excel on Windows.
        text = content.decode("cp1252", errors="replace")
        remarks.append("read as Windows-1252 (Latin-1), for it is not UTF-8")
    text = text.lstrip("\r\n")
    if not text.strip():
        raise LogvarError(f"{path} is empty: expected a table with rows")
    if "\0" in text:
        raise LogvarError(f"{path} is not text: expected rows of cells; give it its own ending")
    return text, remarks


def _delimiter(text: str, path: Path) -> tuple[str, str]:
    """Return the delimiter, and the text with tabs if columns are set apart by blanks."""
    if str(path).lower().endswith((".tsv", ".tsv.gz")) and "\t" in text[: text.find("\n")]:
        return "\t", text
    for delimiter in _DELIMITERS:
        widths = [len(record.cells) for record in _sample(text, delimiter)]
        common, count = Counter(widths[1:] or widths).most_common(1)[0]
        if common > 1 and count >= 0.9 * len(widths[1:]) and abs(widths[0] - common) <= 1:
            return delimiter, text
    lines = [line.split() for line in text.splitlines()[:SAMPLE] if line.strip()]
    numbers = all(re.fullmatch(r"[-+.\deE]+", cell) for line in lines[1:] for cell in line)
    even = len(set(map(len, lines))) == 1 and len(lines[0]) > 1
    if "," not in text and len(lines) > 1 and numbers and even:
        return " ", re.sub(r"[ \t]+", " ", re.sub(r"(?m)^[ \t]+|[ \t]+$", "", text))
    return ",", text


def _header(first: list[str], width: int, ends: bool, path: Path) -> list[str]:
    """Return one name for each column; R writes none above the labels of rows.

    Args:
        first: the cells of the first line.
        width: how many the others have.
        ends: whether the last cell of each is empty, after a delimiter at the end of the line.
        path: the file.
    """
    if len(first) == width:
        return first
    if len(first) == width + 1 and not first[-1]:
        return first[:-1]
    if len(first) == width - 1:
        return [*first, ""] if ends else ["", *first]
    raise LogvarError(
        f"{path} has {len(first)} cell(s) in its first line ({', '.join(first[:3])[:60]}) and "
        f"{width} in most others: expected as many names as columns; remove lines above the table"
    )


def _kinds(rest: list[list[str]], width: int, body: str) -> list[pa.DataType]:
    """Return text for every column; in a large file numbers, where some rows have nothing else.

    Arrow reads plain numbers five times as fast; where that fails, all cells are read as texts.
    """
    texts = [pa.string()] * width
    if len(body) < LARGE:
        return texts
    codes = pa.array([body], pa.large_string())  # such as 007, which stay texts
    if pc.match_substring_regex(codes, r'[\s,;|"][+-]?0[0-9]')[0].as_py():
        return texts
    for i in range(width):
        cells = [row[i] for row in rest if len(row) == width and row[i] not in MARKS]
        if cells and all(re.fullmatch(r"-?\d+", cell) for cell in cells):
            texts[i] = pa.int64()
        elif cells and all(re.fullmatch(r"-?\d+\.?\d*(e[-+]\d+)?", cell) for cell in cells):
            texts[i] = pa.float64()
    return texts


def _columns(
    path: Path, body: str, delimiter: str, kinds: list[pa.DataType], before: int
) -> list[pa.ChunkedArray]:
    """Return all columns; rows of another width are an error that counts them."""
    width = len(kinds)
    odd: list[arrow_csv.InvalidRow] = []

    def noted(row: arrow_csv.InvalidRow) -> str:
        odd.append(row)
        return "skip"

    names = [str(i) for i in range(width)]
    content = body.encode()
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            arrow_csv.ReadOptions(column_names=names, use_threads=True, block_size=1 << 24),
            arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values='"' in body, invalid_row_handler=noted
            ),
            arrow_csv.ConvertOptions(
                column_types=dict(zip(names, kinds, strict=True)), null_values=list(MARKS)
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        if set(kinds) != {pa.string()}:
            return _columns(path, body, delimiter, [pa.string()] * width, before)
        reason = str(error).splitlines()[0]
        raise LogvarError(
            f"{path} cannot be read as a table ({reason}): expected rows of {width} cells"
        ) from error
    if odd:
        lines = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
        where = [(lines.line_num + before, len(row)) for row in lines if len(row) not in (0, width)]
        shown = ", ".join(f"line {line} has {cells}" for line, cells in where[:3])
        raise LogvarError(
            f"{path}: {len(odd):,} of {len(odd) + table.num_rows:,} rows do not have {width} cells "
            f"like the others ({shown}{', …' if len(where) > 3 else ''}): correct or remove them; "
            f"a cell that contains {delimiter!r} needs quotation marks"
        )
    return table.columns


def _named(
    names: list[str],
    columns: list[pa.ChunkedArray],
    samples: list[list[str]],
    delimiter: str,
    remarks: list[str],
) -> Parts:
    """Name what has no name: labels of rows keep none, and empty columns are left out."""
    kept: list[tuple[str, pa.ChunkedArray, list[str]]] = []
    labels: list[str] = []
    for i, (name, column, sample) in enumerate(zip(names, columns, samples, strict=True)):
        if (
            i == len(labels)
            and (name or i == 0)
            and _ROW_LABELS.fullmatch(name)
            and pc.count_distinct(column).as_py() == len(column)
        ):
            labels.append(name)
            if i == 0:
                remarks.append("the first column has no name and labels the rows: not modelled")
        elif not name:
            if not any(cell.strip() for cell in map(str, pc.unique(column).to_pylist())):
                continue  # from a delimiter at the end of each line
            name = f"x{i}"
        kept.append((name, column, sample))
    return Parts(
        tuple(name for name, _, _ in kept), tuple(column for _, column, _ in kept), delimiter,
        tuple(remarks), tuple(labels), tuple(sample for _, _, sample in kept),
    )  # fmt: skip
