"""A disk that is full when a model is trained: what was learned is kept, and --resume does the rest."""

import numpy as np

from logvar.cli import fitting
from logvar.errors import LogvarError
from tests.cli.in_process import run

FIT = [
    "fit", "rows.npy", "--latent-dim", "2", "--network", "mlp(hidden=[8])", "--likelihood", "normal",
    "--epochs", "1", "--patience", "0", "--importance-samples", "2",
]  # fmt: skip


def test_a_report_that_does_not_fit_is_written_later(tmp_path):
    def here(patch):
        patch.chdir(tmp_path)

    def full(patch):
        here(patch)

        def write_report(path, *rest):
            raise LogvarError(f"cannot write {path}: No space left on device; make room")

        patch.setattr(fitting, "write_report", write_report)

    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((60, 4)).astype(np.float32))
    broken = run([*FIT, "--out", "run"], full)
    assert broken.code == 2 and len(broken.errors.splitlines()) == 1
    assert "the trained model is in run, and the same command with --resume" in broken.errors
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
    done = run([*FIT, "--out", "run", "--resume"], here)
    assert done.code == 0 and (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights
    again = run([*FIT, "--out", "run", "--resume"], here)
    assert again.code == 0 and "already finished" in again.out
