"""Recipes and run folders: whole or refused."""

import fcntl
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_iris

import logvar
from logvar.assembly.parts import specs
from logvar.recipe import PRESETS, Recipe, preset
from logvar.storage import files
from logvar.storage.files import UnfinishedFolder, sha256, write_atomically

X = load_iris().data


@pytest.fixture(scope="module")
def vae():
    return logvar.VAE(latent_dim=2, network="mlp(hidden=[8])", epochs=2, likelihood="normal").fit(X)


@pytest.fixture
def run(vae, tmp_path):
    return vae.save(tmp_path / "run")


def test_loaded_is_saved(vae, run):
    again = logvar.load(run)
    np.testing.assert_array_equal(again.transform(X), vae.transform(X))
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
    assert again.get_params() == vae.get_params()
    assert again.history_ == vae.history_
    assert again.save(run.parent / "again").is_dir()


def test_nothing_is_pickled(run):
    for path in run.rglob("*"):
        if path.is_file():
            assert path.suffix in {".toml", ".json", ".jsonl", ".safetensors"}
            assert not path.read_bytes().startswith(b"\x80")


def test_metrics_hold_no_clocks(run):
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert set(line) == {"epoch", "step", "loss", "train", "validation", "best_epoch", "rescues"}


DAMAGES = {
    "no manifest": (lambda run: (run / "manifest.json").unlink(), "has no manifest.json"),
    "cut weights": (
        lambda run: os.truncate(run / "weights.safetensors", 100), "its hash differs"),
    "changed recipe": (
        lambda run: (run / "recipe.toml").write_text("[data]\n"), "its hash differs"),
    "no weights": (lambda run: (run / "weights.safetensors").unlink(), "lacks weights"),
    "cut manifest": (lambda run: os.truncate(run / "manifest.json", 50), "cannot be read as JSON"),
    "other format": (lambda run: edit(run, format=99), "has format 99"),
    "hostile path": (lambda run: edit(run, hashes={"../../etc/passwd": "0"}), "wrong kind"),
    "hostile name": (
        lambda run: edit(run, more_hashes={"../x": "0"}), "names the file '../x'"),
    "hostile shape": (lambda run: edit(run, shape=[10**6, 10**6]), "do not go with weights"),
    "negative shape": (lambda run: edit(run, shape=[-4]), "wrong kind"),
    "unknown entry": (lambda run: edit(run, surprise=1), "'surprise' is missing or unknown"),
}  # fmt: skip


def edit(run, more_hashes=None, **entries):
    content = json.loads((run / "manifest.json").read_text()) | entries
    content["hashes"] |= more_hashes or {}
    (run / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_one_clear_error(run, damage):
    harm, message = DAMAGES[damage]
    harm(run)
    with pytest.raises(logvar.LogvarError, match=message) as caught:
        logvar.load(run)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(run):
    recipe = (run / "recipe.toml").read_text().replace("latent_dim = 2", "latent_dim = 3")
    (run / "recipe.toml").write_text(recipe)
    edit(run, more_hashes={"recipe.toml": sha256(run / "recipe.toml")})
    with pytest.raises(logvar.LogvarError, match="has shape .* expected"):
        logvar.load(run)


def test_an_existing_place_is_refused_unless_told(vae, run):
    with pytest.raises(logvar.LogvarError, match="overwrite=True"):
        vae.save(run)
    assert vae.save(run, overwrite=True) == run
    (run.parent / "precious").mkdir()
    (run.parent / "precious" / "thesis.tex").write_text("…")
    with pytest.raises(logvar.LogvarError, match="is not a run folder"):
        vae.save(run.parent / "precious", overwrite=True)
    assert (run.parent / "precious" / "thesis.tex").is_file()
    assert sorted(p.name for p in run.parent.iterdir()) == ["precious", "run"]


def test_an_unfinished_folder_leaves_the_earlier_run_alone(run):
    before = (run / "manifest.json").read_bytes()
    folder = UnfinishedFolder(run, overwrite=True, marker="manifest.json")
    (folder.path / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(logvar.LogvarError, match="written by another process"):
        UnfinishedFolder(run, overwrite=True, marker="manifest.json")
    assert (run / "manifest.json").read_bytes() == before
    folder.discard()
    assert [p.name for p in run.parent.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_begun_is_neither_left_nor_locked(tmp_path, monkeypatch):
    def full(path, text):
        path.touch()
        raise OSError(28, "No space left on device")

    run = {"final": tmp_path / "run", "overwrite": False, "marker": "manifest.json"}
    for keep in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", full)
            with pytest.raises(logvar.LogvarError, match="No space left"):
                UnfinishedFolder(**run, keep=keep)
        assert not list(tmp_path.iterdir())
    UnfinishedFolder(**run).discard()


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    target = tmp_path / "file.json"
    target.write_text("before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(logvar.LogvarError, match=r"cannot write .*No space left.*make room"):
        write_atomically(target, "after")
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_an_unwritable_place_is_named(vae):
    with pytest.raises(logvar.LogvarError, match="cannot write /proc/nowhere"):
        vae.save("/proc/nowhere/run")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_written_down(name):
    recipe = preset(name).checked()
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [("[model", "not TOML"), ("[modl]", "did you mean 'model'"), ("model = 3", "expected a table"),
     ("[model]\nlatent = 2", "did you mean 'latent_dim'"), ("[model]\nlatent_dim = 'a'", "an integer"),
     ("[training]\nepochs = 0", "at least 1"), ("[objective]\nbeta = nan", "beta is 'nan', expected a number")],
)  # fmt: skip
def test_a_bad_recipe_is_one_clear_error(text, message):
    with pytest.raises(logvar.LogvarError, match=message):
        specs(Recipe.from_toml(text))  # as `logvar.load` does


def test_a_kill_between_the_two_renames_of_overwriting_loses_nothing(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text("earlier")
    folder = UnfinishedFolder(run, overwrite=True, marker="manifest.json")
    (folder.path / "manifest.json").write_text("new")
    replace, calls = os.replace, []

    def killed_at_the_second(old, new):
        calls.append(old)
        if len(calls) == 2:
            raise SystemExit("killed")
        replace(old, new)

    monkeypatch.setattr(os, "replace", killed_at_the_second)
    with pytest.raises(SystemExit):
        folder.publish()
    monkeypatch.setattr(os, "replace", replace)
    os.close(folder._lock)
    assert not run.exists()
    again = UnfinishedFolder(run, overwrite=True, marker="manifest.json", keep=True)
    assert (run / "manifest.json").read_text() == "earlier"
    assert (again.publish() / "manifest.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def as_on_windows(monkeypatch):
    """`logvar.storage.files` without fcntl, where folders are neither opened nor renamed in use."""
    flock, opened, replaced = fcntl.flock, os.open, os.replace

    def locking(descriptor, mode, count):
        try:
            flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    def open_(path, *arguments, **options):
        if not options and Path(path).is_dir():  # shutil passes dir_fd, which Windows has not
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    def replace(source, target):
        in_use = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists()}
        if any(Path(each).is_relative_to(Path(source).resolve()) for each in in_use):
            raise PermissionError(13, "Permission denied", str(source))
        replaced(source, target)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "replace", replace)
    spec = importlib.util.spec_from_file_location("files_of_windows", files.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_system_without_fcntl_locks_a_file_beside_the_folder(as_on_windows, tmp_path):
    final = tmp_path / "deep" / "run"
    first = as_on_windows.UnfinishedFolder(final, overwrite=False, marker="m")
    as_on_windows.write_atomically(first.path / "m", "one")
    for overwrite in (False, True):
        with pytest.raises(logvar.LogvarError, match="is being written by another process"):
            as_on_windows.UnfinishedFolder(final, overwrite=overwrite, marker="m")
    assert (first.publish() / "m").read_text() == "one"
    second = as_on_windows.UnfinishedFolder(final, overwrite=True, marker="m")
    as_on_windows.write_atomically(second.path / "m", "two")
    second.leave()
    third = as_on_windows.UnfinishedFolder(final, overwrite=True, marker="m", keep=True)
    assert (third.path / "m").read_text() == "two"
    third.publish()
    as_on_windows.UnfinishedFolder(final, overwrite=True, marker="m").discard()
    assert (final / "m").read_text() == "two"
    assert [path.name for path in final.parent.iterdir()] == ["run"]
