"""`logvar fit --processes`: the same bytes, one writer, and an end together."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.cases import slow

SETTINGS = [
    "--latent-dim", "2", "--network", "mlp(hidden=[8])", "--likelihood", "normal",
    "--batch-size", "16", "--shards", "4", "--patience", "0", "--importance-samples", "2",
]  # fmt: skip
FINAL = ("weights.safetensors", "metrics.jsonl", "evaluation.json", "recipe.toml")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several processes")
    rows = np.random.default_rng(0).random((90, 6)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    for i, part in enumerate(np.split(rows, [20, 51])):
        np.save(folder / f"part-{i}.npy", part)
    return folder


def start(place, *arguments, data="rows.npy"):
    return subprocess.Popen(
        [sys.executable, "-m", "logvar", "fit", data, *SETTINGS, *arguments],
        cwd=place, env=os.environ | {"LOGVAR_CACHE": str(place / "cache"), "COLUMNS": "200"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def finished(process):
    out, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    return out


def same(place, one, other):
    return [n for n in FINAL if (place / one / n).read_bytes() != (place / other / n).read_bytes()]


WINDOWS = "--window", "32"


@pytest.mark.parametrize(
    ("data", "processes", "more"),
    [
        ("part-*.npy", "2", WINDOWS),
        slow("table.parquet", "2", WINDOWS),
        slow("cells.h5ad", "2", ()),
        slow("rows.npy", "2", ()),
        slow("rows.npy", "4", WINDOWS),
    ],
)
def test_several_processes_end_in_the_bytes_of_one(place, data, processes, more):
    """Wherever the rows are: in memory, or read a window at a time by one, by numbers by several."""
    if data == "table.parquet":
        save_table(place / data)
        more = [*more, "--likelihood", "mixed"]
    if data == "cells.h5ad":
        save_cells(place / data)
        more = [*more, "--likelihood", "poisson", "--condition", "batch"]
    several = "--processes", processes
    finished(start(place, *more, "--epochs", "2", "--out", "one", "--overwrite", data=data))
    out = finished(
        start(place, *more, *several, "--epochs", "2", "--out", "two", "--overwrite", data=data)
    )
    assert out.count("finished after 2 epochs") == 1  # one of them prints
    assert same(place, "one", "two") == []


def save_table(path):
    """A table of mixed columns, with cells missing."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    real = np.where(rng.random(90) < 0.2, np.nan, rng.normal(size=90))
    columns = {
        "level": pa.array(np.array(["a", "b", None], object)[rng.integers(0, 3, 90)]),
        "count": rng.poisson(3, 90),
        "real": pa.array(real, from_pandas=True),
    }
    parquet.write_table(pa.table(columns), path, row_group_size=17)


def save_cells(path):
    """Counts of cells, with a condition beside them."""
    ad = pytest.importorskip("anndata")
    rng = np.random.default_rng(0)
    cells = ad.AnnData(rng.poisson(2, (90, 6)).astype(np.float32) + 1)
    cells.obs["batch"] = rng.choice(["a", "b"], 90)
    cells.write_h5ad(path)


def test_the_death_of_one_ends_all_and_resume_goes_on(place):
    long = ["--epochs", "60", "--checkpoint-seconds", "0"]
    process = start(place, *long, "--out", "killed", "--processes", "2")
    checkpoints = place / ".killed.unfinished" / "checkpoints"
    until = time.monotonic() + 300
    while not any(checkpoints.glob("0*/checkpoint.json")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    children = subprocess.run(
        ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True, check=True
    ).stdout.split()
    killed = time.monotonic()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=100)
    assert time.monotonic() - killed < 10
    assert process.returncode == 3
    assert errors.strip().splitlines() == [
        "logvar: process 1 of 2 was ended by SIGKILL, so all were stopped; what was saved before is "
        "whole, and the same command with --resume goes on from it"
    ]
    finished(start(place, *long, "--out", "killed", "--resume"))  # in one process
    finished(start(place, *long, "--out", "unbroken"))
    assert same(place, "killed", "unbroken") == []


def test_processes_of_another_run_are_refused(place):
    np.save(place / "others.npy", np.random.default_rng(1).random((90, 6)).astype(np.float32))
    port = free_port()
    cluster = "--coordinator-address", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id"
    data = "rows.npy", "others.npy"
    both = [start(place, "--out", f"d{i}", *cluster, str(i), data=data[i]) for i in (0, 1)]
    for process in both:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 2
        assert "process 1 of 2 differs from process 0 in data" in errors


def test_a_coordinator_that_does_not_answer_is_one_line(place):
    port = free_port()
    cluster = "--coordinator-address", f"127.0.0.1:{port}", "--num-processes", "2"
    process = start(place, *cluster, "--process-id", "1", "--coordinator-seconds", "2")
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert len(errors.strip().splitlines()) == 1 and "did not answer within 2 s" in errors
