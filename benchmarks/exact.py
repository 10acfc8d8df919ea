"""Whether several processes end in the bytes of one, for data of several kinds.

    python benchmarks/exact.py                  # all kinds, by 1, 2 and 4 processes with --exact
    python benchmarks/exact.py shards counts    # some of them
    python benchmarks/exact.py --rounded        # without --exact: how far weights are apart

Compared are the weights, the metrics of each epoch and the final evaluation.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROWS = 500
FILES = ("weights.safetensors", "metrics.jsonl", "evaluation.json")
SETTINGS = [
    "--epochs", "3", "--patience", "0", "--batch-size", "32", "--latent-dim", "2",
    "--network", "mlp(hidden=[8])", "--importance-samples", "2",
]  # fmt: skip
NORMAL, WINDOWS = ["--likelihood", "normal"], ["--window", "100"]
KINDS = {
    "npy": ["rows.npy", *NORMAL, *WINDOWS],
    "shards": ["shard-*.npy", *NORMAL, *WINDOWS],
    "csv": ["table.csv"],
    "parquet": ["table.parquet", *WINDOWS],
    "counts": ["counts.npy", "--likelihood", "negative-binomial"],
}


def save(folder: Path) -> None:
    """Write rows, whole and in three files, counts, and a table of mixed columns with holes."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(ROWS, 6)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    for i, part in enumerate(np.split(rows, [130, 333])):
        np.save(folder / f"shard-{i}.npy", part)
    np.save(folder / "counts.npy", rng.negative_binomial(3, 0.3, (ROWS, 6)).astype(np.float32))
    levels = np.array(["a", "b", "c"], object)[rng.integers(0, 3, ROWS)]
    real = rng.normal(size=ROWS)
    real[rng.random(ROWS) < 0.2] = np.nan
    levels[rng.random(ROWS) < 0.1] = None
    columns = {"level": pa.array(levels), "count": rng.poisson(3, ROWS)}
    columns |= {"real": pa.array(real, from_pandas=True), "real2": rng.normal(size=ROWS)}
    parquet.write_table(pa.table(columns), folder / "table.parquet", row_group_size=70)
    csv.write_csv(pa.table(columns), folder / "table.csv")


def apart(one: Path, other: Path) -> float:
    """Return the largest difference of any weight."""
    from safetensors.numpy import load_file

    first, second = (load_file(run / "weights.safetensors") for run in (one, other))
    both = ((first[name], second[name]) for name in first)
    return max(float(np.abs(a - b).max()) for a, b in both if a.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--rounded", action="store_true", help="without --exact")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    chosen = parser.parse_args()
    more = [] if chosen.rounded else ["--exact"]
    differ = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder)
        for kind in chosen.kinds:
            for number in (1, *chosen.processes):
                run = ["--out", f"{kind}-{number}", "--processes", str(number)]
                subprocess.run(
                    [sys.executable, "-m", "logvar", "fit", *KINDS[kind], *SETTINGS, *more, *run],
                    cwd=folder, check=True, stdout=subprocess.DEVNULL,
                )  # fmt: skip
                one, other = folder / f"{kind}-1", folder / f"{kind}-{number}"
                if number == 1:
                    continue
                different = [
                    file
                    for file in FILES
                    if (one / file).read_bytes() != (other / file).read_bytes()
                ]
                differ += bool(different)
                print(
                    f"{kind}, {number} processes: {', '.join(different) or 'no file'} differs, "
                    f"weights by at most {apart(one, other):.1g}",
                    flush=True,
                )
    sys.exit(bool(differ) and not chosen.rounded)


if __name__ == "__main__":
    main()
