"""Checkpoints under a file system that fails at any moment: there is always one to load."""

import errno
import itertools
import json
import os
import re
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import logvar
from logvar.runs import resuming
from logvar.runs.resuming import Checkpoints
from logvar.storage import checkpoints as storage
from logvar.storage.checkpoints import Identity, newest_checkpoint, save_checkpoint
from logvar.storage.environment import changes, environment, processor
from tests.training.test_training import DIGITS

SAME = Identity({"scale": "log-std", "epochs": 3}, {"rows": 5}, {"logvar": "0"})
SETTINGS = {
    "latent_dim": 2,
    "network": "mlp(hidden=[16])",
    "batch_size": 64,
    "patience": 0,
    "epochs": 6,
}


def state(step):
    return {"weights": jnp.full(4, float(step)), "step": jnp.asarray(step)}


def save(folder, step):
    return save_checkpoint(folder, step, state(step), [{"epoch": step}], SAME)


def loaded(folder):
    """The step of the newest checkpoint, after checking that its arrays are those of that step."""
    found, _ = newest_checkpoint(folder)
    arrays = found.state(state(0))
    assert float(arrays["weights"][0]) == found.step == int(arrays["step"])
    assert found.history == [{"epoch": found.step}]
    return found.step


def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path):
    for step in (3, 20, 100):
        save(tmp_path, step)
    assert loaded(tmp_path) == 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000000020", "000000000100"]


@pytest.mark.parametrize(
    "damage", ["no marker", "truncated", "flipped", "metrics", "not json", "format"]
)
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, damage):
    save(tmp_path, 1)
    bad = save(tmp_path, 2).path
    arrays, marker = bad / storage.STATE, bad / storage.MARKER
    if damage == "no marker":
        marker.unlink()
    elif damage == "truncated":
        arrays.write_bytes(arrays.read_bytes()[:-3])
    elif damage == "flipped":
        content = bytearray(arrays.read_bytes())
        content[-1] ^= 1
        arrays.write_bytes(content)
    elif damage == "metrics":
        (bad / storage.METRICS).write_text("{}")
    elif damage == "not json":
        marker.write_text("{")
    else:
        marker.write_text(re.sub('"format": [0-9]+', '"format": 99', marker.read_text()))
    assert loaded(tmp_path) == 1
    _, passed_over = newest_checkpoint(tmp_path)
    assert len(passed_over) == 1 and "000000000002" in passed_over[0]


class Failing:
    """Every file system call that a checkpoint makes, of which one may fail."""

    NAMES = ((os, "fsync"), (os, "replace"), (os, "open"), (Path, "mkdir"), (Path, "rename"),
             (shutil, "rmtree"), (Path, "unlink"), ("builtins", "open"))  # fmt: skip

    def __init__(self, monkeypatch, at, error):
        self.calls, self.at, self.error = 0, at, error
        for owner, name in self.NAMES:
            target = __import__("builtins") if owner == "builtins" else owner
            monkeypatch.setattr(
                target, name, self.wrapped(getattr(target, name), owner == "builtins")
            )

    def wrapped(self, original, is_open):
        def call(*arguments, **settings):
            mode = arguments[1] if len(arguments) > 1 else settings.get("mode", "r")
            if not is_open or "w" in str(mode):
                self.calls += 1
                if self.calls - 1 == self.at:
                    raise self.error
            return original(*arguments, **settings)

        return call


class Killed(BaseException):
    """Stands for a process that ends there: nothing after it runs but what Python unwinds."""


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EROFS, "Read-only file system"),
     Killed()],
    ids=["disk full", "read-only", "killed"],
)  # fmt: skip
def test_whichever_call_fails_there_is_a_whole_checkpoint(tmp_path, monkeypatch, error):
    """Each write, sync, rename and removal of saving step 2 fails in turn."""
    failed = 0
    for at in itertools.count():
        folder = tmp_path / str(at)
        save(folder, 1)
        with monkeypatch.context() as patched:
            layer = Failing(patched, at, error)
            problem = None
            try:
                save(folder, 2)
            except (logvar.LogvarError, Killed) as raised:
                problem = raised
        if isinstance(problem, logvar.LogvarError):
            assert "cannot write" in str(problem) and "make room or permission" in str(problem)
        failed += problem is not None
        assert loaded(folder) in (1, 2)
        save(folder, 3)  # and the next one is written as if nothing had been
        assert loaded(folder) == 3
        assert not list(folder.glob(".*.partial"))
        if layer.calls <= at:
            break
    assert failed > 10


def fitted(folder, resume=False, data=DIGITS.train[:200], **settings):
    told = []
    vae = logvar.VAE(**(SETTINGS | settings))
    vae.fit(data, checkpoints=Checkpoints(folder, seconds=0), resume=resume, announce=told.append)
    return vae, told


def test_the_estimator_goes_on_to_the_same_bytes(tmp_path):
    whole, _ = fitted(tmp_path / "whole")
    part, _ = fitted(tmp_path / "part", epochs=2)
    rest, told = fitted(tmp_path / "part", resume=True)
    assert any("resuming from step" in line for line in told)
    assert not any("bytes" in line for line in told)
    assert rest.history_ == whole.history_ and part.history_ == whole.history_[:2]
    np.testing.assert_array_equal(rest.elbo(DIGITS.test), whole.elbo(DIGITS.test))


def test_nothing_to_go_on_from_starts_over_and_says_so(tmp_path):
    vae, told = fitted(tmp_path / "none", resume=True, epochs=1)
    assert any("no checkpoint found: starting from the beginning" in line for line in told)
    assert vae.n_iter_ == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [({"learning_rate": 0.5}, "learning_rate was 0.001, is 0.5"),
     ({"data": DIGITS.train[:201]}, "sha256 was"),
     ({"scale": "log-std"}, "scale was 'log-variance', is 'log-std'")],
)  # fmt: skip
def test_another_recipe_or_other_data_are_refused_with_what_differs(tmp_path, change, named):
    fitted(tmp_path, epochs=1)
    with pytest.raises(logvar.LogvarError, match=named):
        fitted(tmp_path, resume=True, **change)


def test_another_recipe_is_accepted_where_that_was_allowed(tmp_path):
    fitted(tmp_path, epochs=1)
    told = []
    vae = logvar.VAE(**SETTINGS | {"learning_rate": 0.5})
    vae.fit(
        DIGITS.train[:200], announce=told.append, resume=True,
        checkpoints=Checkpoints(tmp_path, changes_allowed=True),
    )  # fmt: skip
    assert any("in spite of a change: learning_rate was 0.001" in line for line in told)
    assert vae.n_iter_ == SETTINGS["epochs"]


def moved_to(monkeypatch, **changed):
    """Have the processes that follow run elsewhere."""
    there = environment() | changed
    monkeypatch.setattr(resuming, "environment", lambda: there)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"processor": "Other 9000"}, "resumed with processor Other 9000"),
        ({"jax": "99.0"}, "resumed with jax 99.0"),
        ({"kernels": "others"}, "resumed with kernels others"),
        ({"jax": "99.0", "processor": "Other 9000"}, "resumed with jax 99.0, processor Other 9000"),
    ],
    ids=["processor", "jax", "kernels", "both"],
)
def test_a_run_resumes_on_another_machine_and_one_line_says_so(
    tmp_path, monkeypatch, changed, named
):
    _, before = fitted(tmp_path, epochs=1)
    moved_to(monkeypatch, **changed)
    vae, told = fitted(tmp_path, resume=True)
    said = [line for line in told if "bytes" in line]
    assert len(said) == 1 and said[0].startswith("begun with ") and named in said[0]
    assert said[0].endswith("the final bytes will differ from those of an unbroken run")
    for name in changed:
        assert f"{name} {environment()[name]}" in said[0]  # what it was begun with
    # Only the names of what changed; nothing else is told that an unchanged resume does not tell.
    assert "numpy" not in said[0] and len(told) == len(before) + 2
    assert vae.n_iter_ == SETTINGS["epochs"] and vae.ended_ == "finished"
    # Its own checkpoints are of the machine that it is on now.
    again, told = fitted(tmp_path, resume=True)
    assert again.n_iter_ == SETTINGS["epochs"] and not any("bytes" in line for line in told)


def test_without_announce_the_line_is_a_warning(tmp_path, monkeypatch):
    fitted(tmp_path, epochs=1)
    moved_to(monkeypatch, processor="Other 9000")
    vae = logvar.VAE(**SETTINGS | {"epochs": 2})
    with pytest.warns(UserWarning, match="resumed with processor Other 9000: the final bytes") as w:
        vae.fit(DIGITS.train[:200], checkpoints=Checkpoints(tmp_path), resume=True)
    assert len(w) == 1 and vae.n_iter_ == 2


def test_another_machine_does_not_excuse_other_data(tmp_path, monkeypatch):
    fitted(tmp_path, epochs=1)
    moved_to(monkeypatch, processor="Other 9000")
    with pytest.raises(logvar.LogvarError, match="sha256 was") as refused:
        fitted(tmp_path, resume=True, data=DIGITS.train[:201])
    assert "Other 9000" not in str(refused.value)


@pytest.mark.parametrize("known", [{"jax": "0.0.1"}, {}], ids=["versions", "nothing"])
def test_a_checkpoint_of_an_earlier_version_resumes_with_what_it_knows(tmp_path, known):
    """Its marker has versions, and neither backend nor processor."""
    fitted(tmp_path, epochs=1)
    for marker in tmp_path.glob(f"*/{storage.MARKER}"):
        content = json.loads(marker.read_text())
        del content["environment"]
        marker.write_text(json.dumps(content | {"versions": known}))
    vae, told = fitted(tmp_path, resume=True, epochs=2)
    said = [line for line in told if "bytes" in line]
    assert len(said) == len(known) and all("jax 0.0.1, resumed with jax" in line for line in said)
    assert vae.n_iter_ == 2


def test_resume_without_a_folder_is_refused():
    with pytest.raises(logvar.LogvarError, match="resume needs checkpoints"):
        logvar.VAE(**SETTINGS).fit(DIGITS.train[:50], resume=True)


def test_a_folder_that_cannot_be_written_stops_the_run_with_the_last_one_intact(
    tmp_path, monkeypatch
):
    fitted(tmp_path, epochs=1)
    before = newest_checkpoint(tmp_path)[0].step

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(logvar.LogvarError, match="No space left"):
            fitted(tmp_path, resume=True)
    assert newest_checkpoint(tmp_path)[0].step == before
    rest, _ = fitted(tmp_path, resume=True)
    assert rest.n_iter_ == SETTINGS["epochs"]


CPUINFO = (
    "processor : 0\nmodel name : AMD EPYC 9000 \nflags : fpu {flags}sse\n\nmodel name : other\n"
)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx avx2 avx512f ", "AMD EPYC 9000 with AVX-512"), ("avx avx2 ", "AMD EPYC 9000 with AVX2"),
     ("avx ", "AMD EPYC 9000 with AVX"), ("avx512vnni ", "AMD EPYC 9000")],
)  # fmt: skip
def test_a_processor_is_known_by_its_model_and_its_vector_instructions(tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags=flags))
    assert processor(tmp_path / "cpuinfo") == expected


def test_a_processor_that_does_not_say_has_a_plain_name(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures : fp asimd\n")
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert processor(tmp_path / "cpuinfo") == processor(tmp_path / "none") == "aarch64"
    monkeypatch.setattr("platform.machine", lambda: "")
    assert processor(tmp_path / "none") == "unknown"


def test_an_environment_is_text_by_name():
    assert {"jax", "jaxlib", "numpy", "backend", "processor", "kernels"} <= environment().keys()
    assert all(isinstance(value, str) and value for value in environment().values())
    assert changes(environment(), environment()) == ""


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_alone_may_be_given(tmp_path, kind):
    vae = logvar.VAE(**SETTINGS | {"epochs": 1}).fit(
        DIGITS.train[:128], checkpoints=kind(tmp_path / "checkpoints")
    )
    assert vae.ended_ == "finished"
