"""A full disk or Ctrl-C once a model is trained: it is kept, and another command does the rest."""

from pathlib import Path

import numpy as np
import pytest

from logvar.cli import fitting
from logvar.errors import LogvarError
from logvar.study.experiment import Outcome, Unit
from logvar.study.results import write_outcome
from tests.cli.in_process import run

FIT = [
    "fit", "rows.npy", "--latent-dim", "2", "--network", "mlp(hidden=[8])", "--likelihood", "normal",
    "--epochs", "1", "--patience", "0", "--importance-samples", "2",
]  # fmt: skip


@pytest.mark.parametrize("of_report", [True, False], ids=["report", "evaluation"])
def test_what_does_not_fit_after_training_is_written_later(of_report, tmp_path):
    def here(patch):
        patch.chdir(tmp_path)

    def full(patch):
        here(patch)

        def write(path, *rest):
            raise LogvarError(f"cannot write {path}: No space left on device; make room")

        patch.setattr(fitting, "write_report" if of_report else "write_atomically", write)

    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((60, 4)).astype(np.float32))
    broken = run([*FIT, "--out", "run"], full)
    assert broken.code == 2 and len(broken.errors.splitlines()) == 1
    rest = "`logvar report run`" if of_report else "the same command with --resume"
    assert f"the trained model is in run, and {rest}" in broken.errors
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
    done = run(["report", "run"] if of_report else [*FIT, "--out", "run", "--resume"], here)
    assert done.code == 0 and (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights
    again = run([*FIT, "--out", "run", "--resume"], here)
    assert again.code == 0 and "already finished" in again.out


def test_ctrl_c_after_training_says_which_command_does_the_rest(tmp_path):
    def interrupted(patch):
        def write(path, *rest):
            raise KeyboardInterrupt

        patch.chdir(tmp_path)
        patch.setattr(fitting, "write_report", write)

    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((60, 4)).astype(np.float32))
    done = run([*FIT, "--out", "run"], interrupted)
    assert done.code == 130 and "interrupted" in done.errors
    assert "the trained model is in run, and `logvar report run` writes its report" in done.out


def test_a_comparison_that_cannot_keep_a_unit_is_one_line(tmp_path, monkeypatch):
    def full(path, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(LogvarError, match=r"cannot write .*parts: No space left on device"):
        write_outcome(tmp_path / "parts", object.__new__(Unit), object.__new__(Outcome))
