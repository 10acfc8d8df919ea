"""Commands that write block by block: the same files as in one block, or none at all."""

import errno
import shlex

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from logvar.cli import blocks, fitting
from logvar.data import sources
from logvar.data.table import writing
from logvar.storage.files import UnfinishedFile
from tests.cases import every_value_once, some
from tests.cli import in_process

pytestmark = pytest.mark.filterwarnings("ignore::logvar.errors.OutsideTrainingRange")
QUICK = "--epochs 1 --latent-dim 2 --network 'mlp(hidden=[8])' --importance-samples 2"
ROWS = 700


def logvar(line):
    """Exit code, output and errors of a command, in this process."""
    found = in_process.run(shlex.split(line))
    return found.code, found.out, found.errors


def table(rows, seed, holes=()):
    rng = np.random.default_rng(seed)
    lines = ["key,day,price,sex,income"]
    for i in range(rows):
        price = "" if i in holes else f"{rng.lognormal(2, 1):.2f}"
        day = f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.20{rng.integers(10, 20)}"
        lines.append(f"p{i},{day},{price},{rng.choice(['F', 'M'])},{rng.choice(['low', 'high'])}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs of an array, of a table with a label, and of images; and more rows for each."""
    folder = tmp_path_factory.mktemp("in blocks")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(fitting, "write_report", lambda *arguments: None)
        np.save("few.npy", rng.normal(size=(80, 3)).astype(np.float32))
        many = rng.normal(size=(ROWS, 3)).astype(np.float32)
        many[[7, 300, 690]] = 1e6  # outside of what the encoder was trained on
        np.save("many.npy", many)
        many[650, 1] = np.nan
        np.save("late.npy", many)
        (folder / "few.csv").write_text(table(90, 0, holes=range(0, 90, 9)))
        (folder / "many.csv").write_text(table(ROWS, 1, holes=range(0, ROWS, 7)))
        (folder / "pictures").mkdir()
        for i in range(300):
            pixels = rng.integers(0, 256, (4, 4), np.uint8)
            Image.fromarray(pixels).save(f"pictures/{i}.png")
        for line in (
            f"fit few.npy {QUICK} --out array",
            f"fit few.csv {QUICK} --label income --objective labelled --out labelled",
            f"fit pictures {QUICK} --out images",
        ):
            code, _, errors = logvar(line)
            assert code == 0, errors
        yield folder


def written(out, code, said, errors):
    if out.is_dir():
        return code, said, errors, {p.name: p.read_bytes() for p in sorted(out.iterdir())}
    return code, said, errors, out.read_bytes()


LINES = {
    "encode": "encode array many.npy --out {}.csv",
    "encode to an array": "encode array many.npy --out {}.npy",
    "encode a table": "encode labelled many.csv --out {}.arrow",
    "reconstruct": "reconstruct array many.npy --out {}.npy",
    "reconstruct a table": "reconstruct labelled many.csv --out {}.csv",
    "reconstruct images": "reconstruct images pictures --out {}",
    "decode": "decode labelled codes.csv --out {}.csv",
    "score, with a hole in a late block": "score array late.npy --out {}.csv --importance-samples 2",
    "explain": "score labelled many.csv --out {}.csv --explain --importance-samples 2",
    "predict": "predict labelled many.csv --out {}.parquet",
    "impute": "impute labelled many.csv --out {}.csv.gz --samples 10",
    "impute with draws": "impute labelled many.csv --out {}.parquet --draws 1 --samples 10",
    "outliers": "outliers many.npy --run array --out {}.csv --explain --importance-samples 2",
    "sample": "sample array --n 700 --out {}.npy",
    "sample a table": "sample labelled --n 700 --missing --out {}.csv",
    "sample one label": "sample labelled --n 700 --label high --out {}.arrow",
    "sample given cells": "sample labelled --n 700 --where sex=F --out {}.parquet",
    "sample from a mixture": "sample array --n 700 --from 'mixture(components=2)' --out {}.npy",
    "sample images": "sample images --n 300 --out {}",
    "sample one picture": "sample images --n 300 --out {}.png",
}  # fmt: skip


AS_OTHERS = (
    "encode to an array", "reconstruct a table", "impute", "sample one label", "sample one picture",
)  # fmt: skip
"""Lines whose command and kind of output other lines have."""


@pytest.mark.parametrize("case", some(LINES, quick=set(LINES) - set(AS_OTHERS)))
def test_blocks_do_not_show(case, place, tmp_path, monkeypatch):
    """Files, what is said and what is warned of are those of one block."""
    monkeypatch.chdir(place)
    if case == "decode" and not (place / "codes.csv").exists():
        logvar("encode labelled many.csv --out codes.csv")
    if case == "sample from a mixture":
        logvar("sample array --n 1 --from 'mixture(components=2)' --out one.npy")
    found = []
    for name in ("one", "many"):
        monkeypatch.setattr(blocks, "BYTES", 1 << 26 if name == "one" else 1)
        # The second time, files that can be read in parts are.
        monkeypatch.setattr(sources, "_fits", lambda *_, whole=name == "one": whole)
        # As small a group as these rows can fill: what is in one does not depend on the blocks.
        monkeypatch.setattr(writing, "MOST_ROWS", 300)
        folder = tmp_path / name
        folder.mkdir()
        code, said, errors = logvar(LINES[case].format(shlex.quote(str(folder / "out"))))
        (out,) = folder.iterdir()  # and nothing unfinished beside it
        found.append(written(out, code, said.replace(str(folder), ""), errors))
    assert found[0][0] == 0, found[0][2]
    assert found[0] == found[1]


def test_warnings_of_all_blocks_are_one_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(blocks, "BYTES", 1)
    for line in ("score array many.npy --importance-samples 2", "encode array many.npy"):
        code, _, errors = logvar(f"{line} --out {shlex.quote(str(tmp_path / 'a.csv'))}")
        assert code == 0
        (said,) = errors.splitlines()
        assert said.startswith("logvar: 3 of 700 rows lie outside of what the encoder was trained")
        assert "(the first is row 7: feature" in said


def test_a_bad_row_of_a_late_block_is_named_by_its_own_number(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    rows = np.load("many.npy")
    rows[600, 2] = np.inf
    np.save(tmp_path / "bad.npy", rows)
    text = table(ROWS, 1).splitlines()
    text[601] = text[601].replace(",F,", ",X,").replace(",M,", ",X,")
    (tmp_path / "bad.csv").write_text("\n".join(text))
    monkeypatch.setattr(blocks, "BYTES", 1)
    for data, run, told in (
        ("bad.npy", "array", "has infinity at row 600, column 2"),
        ("bad.csv", "labelled", "has the level 'X' at row 600, which the model never saw"),
    ):
        path, out = shlex.quote(str(tmp_path / data)), shlex.quote(str(tmp_path / "out.csv"))
        code, _, errors = logvar(f"encode {run} {path} --out {out}")
        assert code == 2 and told in errors and len(errors.splitlines()) == 1
        assert data in errors
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv", "bad.npy"]
    # Rows that are not in memory are not all read again for the message.
    monkeypatch.setattr(blocks, "_WHOLE", 0)
    code, _, errors = logvar(f"encode array {shlex.quote(str(tmp_path / 'bad.npy'))} --out x.csv")
    assert code == 2 and "row 88, column 2" in errors and "from row 512" in errors


PROBLEMS = {"full": OSError(errno.ENOSPC, "No space left on device"), "Ctrl-C": KeyboardInterrupt()}


@pytest.mark.parametrize(
    ("ending", "problem"),
    every_value_once(["csv", "tsv.gz", "npy", "parquet", "arrow"], list(PROBLEMS)),
)
def test_nothing_half_written_remains(ending, problem, place, tmp_path, monkeypatch):
    """A full disk or Ctrl-C while the second block is written: the earlier file stays."""
    problem = PROBLEMS[problem]
    monkeypatch.chdir(place)
    monkeypatch.setattr(blocks, "BYTES", 1)
    monkeypatch.setattr(writing, "MOST_ROWS", 200)
    out = tmp_path / f"out.{ending}"
    out.write_bytes(b"before")

    class Full:
        """A file on a disk with room for one block."""

        def __init__(self, file):
            self.file, self.left = file, 6000

        def write(self, data):
            self.left -= len(memoryview(data).cast("B"))
            if self.left < 0:
                raise problem
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    begin = UnfinishedFile.__init__

    def on_a_small_disk(self, path):
        begin(self, path)
        self.raw = Full(self.raw)

    monkeypatch.setattr(UnfinishedFile, "__init__", on_a_small_disk)
    code, said, errors = logvar(f"sample array --n 4000 --out {shlex.quote(str(out))}")
    assert out.read_bytes() == b"before" and list(tmp_path.iterdir()) == [out]
    assert said == "" and len(errors.strip().splitlines()) == 1
    if isinstance(problem, OSError):
        assert code == 2 and "No space left on device; choose another place" in errors
    else:
        assert code == 130 and "interrupted" in errors


def test_row_groups_and_first_draws_do_not_depend_on_how_many_follow(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(blocks, "BYTES", 1)
    monkeypatch.setattr(writing, "MOST_ROWS", 300)
    few, many = (shlex.quote(str(tmp_path / name)) for name in ("few.parquet", "many.parquet"))
    for n, out in ((100, few), (700, many)):
        assert logvar(f"sample labelled --n {n} --missing --out {out}")[0] == 0
    short, long = (pq.read_table(tmp_path / name) for name in ("few.parquet", "many.parquet"))
    assert long.slice(0, 100).equals(short)
    groups = pq.ParquetFile(tmp_path / "many.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [300, 300, 100]


def test_an_embedding_does_not_depend_on_the_rows_beside_it():
    import logvar as package

    X = np.random.default_rng(0).normal(size=(300, 3))
    sphere = {"posterior": "power-spherical", "prior": "uniform-sphere"}
    vae = package.VAE(3, epochs=1, network="mlp(hidden=[8])", **sphere).fit(X)
    with jax.disable_jit(False):
        whole = vae.transform(X)
        parts = [vae.transform(X[:1]), vae.transform(X[1:130]), vae.transform(X[130:])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
