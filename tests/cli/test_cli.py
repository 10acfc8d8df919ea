"""The command line with good and bad input; fits and interruptions in processes of their own, as users run them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from logvar.backend import extension
from logvar.cli.console import console
from logvar.cli.main import Settings
from logvar.recipe import Recipe
from logvar.scales.registry import REGISTRY
from tests.cases import slow
from tests.cli.in_process import run

TABLE = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
QUICK = [
    "--epochs",
    "3",
    "--latent-dim",
    "2",
    "--network",
    "mlp(hidden=[8])",
    "--importance-samples",
    "5",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a space in its name, data in it, and a run fitted there."""
    folder = tmp_path_factory.mktemp("a place")
    np.save(folder / "table.npy", TABLE)
    done = logvar(folder, "fit", "table.npy", *QUICK, "--out", "runs/table")
    assert done.returncode == 0, done.stderr
    return folder


def command(*arguments):
    return [sys.executable, "-m", "logvar", *arguments]


def environment(columns=200):
    return os.environ | {"COLUMNS": str(columns)}


def logvar(folder, *arguments):
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def in_this_process(folder, *commands, columns=200):
    """What each command gives: a process of its own imports JAX, which takes longer than most of them."""
    return [_done(folder, [str(argument) for argument in each], columns) for each in commands]


def _done(folder, arguments, columns):
    def prepare(patch):
        patch.chdir(folder)
        patch.setenv("COLUMNS", str(columns))
        # A console that was made under COLUMNS, in another test, keeps that width.
        patch.setattr(console, "_width", columns)

    found = run(arguments, prepare)
    return subprocess.CompletedProcess(arguments, found.code or 0, found.out, found.errors)


def test_a_row_far_out_is_scored_and_said_in_one_line(place):
    far = np.concatenate([TABLE[:3], np.full((1, 5), 1e30, np.float32)])
    np.save(place / "far.npy", far)
    few = ["runs/table", "far.npy", "--importance-samples", "3"]
    done, evaluated = in_this_process(
        place, ["score", *few, "--out", "far.csv"], ["evaluate", *few]
    )
    assert done.returncode == 0
    (said,) = done.stderr.splitlines()
    assert said.startswith("logvar: 1 of 4 rows lie outside of what the encoder was trained on")
    scores = np.loadtxt(place / "far.csv", skiprows=1, delimiter=",")
    assert np.isfinite(scores).all() and scores.argmin() == 3
    assert evaluated.returncode == 0 and len(evaluated.stderr.splitlines()) == 1
    assert not re.search(r"\b(nan|inf)\b", evaluated.stdout)
    assert "1 of 4 rows: outside" in evaluated.stdout


def test_fit_writes_a_whole_run_and_says_where(place):
    run = place / "runs" / "table"
    names = {path.name for path in run.iterdir()}
    assert names == {
        "recipe.toml", "manifest.json", "weights.safetensors", "metrics.jsonl", "timing.jsonl",
        "evaluation.json", "checkpoints", "report.html", "standardization.safetensors",
    }  # fmt: skip
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    protocol = json.loads((run / "evaluation.json").read_text())["protocol"]
    assert protocol["rows"] == 6 and "held out" in protocol["split"]
    assert protocol["importance_samples"] == int(QUICK[-1])
    # Other tests may have written runs of their own there.
    assert [p.name for p in run.parent.iterdir() if "table" in p.name] == ["table"]
    versions = json.loads((run / "manifest.json").read_text())["versions"]
    assert {"logvar", "jax", "numpy", "processor", "kernels"} <= versions.keys()


def test_encode_decode_reconstruct_sample_score(place):
    cases = (
        (("encode", "runs/table"), "codes.npy", (60, 2)),
        (("decode", "runs/table", "codes.npy"), "decoded.npy", (60, 5)),
        (("reconstruct", "runs/table", "table.npy"), "reconstructed.npy", (60, 5)),
        (("sample", "runs/table", "--n", "7"), "samples.npy", (7, 5)),
        (("score", "runs/table", "--importance-samples", "3"), "scores.npy", (60,)),
    )
    commands = [(*arguments, "--out", out) for arguments, out, _ in cases]
    *all_done, table = in_this_process(
        place, *commands, ("encode", "runs/table", "--out", "codes.csv")
    )
    for done, (_, out, shape) in zip(all_done, cases, strict=True):
        assert done.returncode == 0, done.stderr
        assert np.load(place / out).shape == shape
    np.testing.assert_array_equal(
        np.load(place / "decoded.npy"), np.load(place / "reconstructed.npy")
    )
    assert (place / "codes.csv").read_text().startswith('"z0","z1"\n'), table.stderr


def test_evaluate_and_report(place):
    figure = json.loads((place / "runs/table/evaluation.json").read_text())["figures"][0]
    (place / "runs/table/report.html").unlink()
    evaluated, done = in_this_process(
        place,
        ["evaluate", "runs/table", "--importance-samples", "5"],
        ["report", str(place / "runs/table"), str(place / "table.npy")],
    )
    assert evaluated.returncode == 0
    assert "elbo" in evaluated.stdout and "held out" in evaluated.stdout
    assert f"{figure['value']:.2f}" in evaluated.stdout
    page = (place / "runs/table/report.html").read_text()
    assert done.returncode == 0 and "Raw scale outputs" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_a_runs_own_data_are_known_by_content_and_changed_data_are_refused(place):
    (place / "copy").mkdir()
    np.save(place / "copy" / "other_name.npy", TABLE)
    np.save(place / "copy" / "table.npy", TABLE + 1)
    recipe = place / "runs" / "table" / "recipe.toml"
    assert f'data = "{place / "table.npy"}"' in recipe.read_text()
    evaluate = ["evaluate", "../runs/table"]
    own, known, given = in_this_process(
        place / "copy", evaluate, [*evaluate, "other_name.npy"], [*evaluate, "table.npy"]
    )
    # The run remembers where its data are, not how that was written.
    assert "on 6 rows (held out" in own.stdout and own.stdout == known.stdout
    assert "on 60 rows (all rows of table)" in given.stdout
    np.save(place / "table.npy", TABLE + 1)
    try:
        (refused,) = in_this_process(place / "copy", evaluate)
    finally:
        np.save(place / "table.npy", TABLE)
    assert refused.returncode == 2 and "fingerprint differs" in refused.stderr


def test_scales(place):
    """The catalogue shows whole names, in a narrow terminal too."""
    listed, facts, wrong = in_this_process(
        place, ["scales"], ["scales", "softplus"], ["scales", "softpluss"], columns=70
    )
    lines = listed.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 70
    first_words = {line.split()[0] for line in lines if line.strip()}
    assert {name for name, entry in REGISTRY.items() if not entry.wraps} <= first_words
    assert "0.541325" in facts.stdout and "0.6321" in facts.stdout
    assert wrong.returncode == 2 and "did you mean 'softplus'" in wrong.stderr


COMMANDS = (
    "fit", "evaluate", "encode", "decode", "reconstruct", "sample", "score", "outliers", "impute",
    "report", "scales", "convert", "doctor", "parts", "compare",
)  # fmt: skip


@pytest.fixture(scope="module")
def helps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("help")
    return dict(
        zip(COMMANDS, in_this_process(folder, *([n, "--help"] for n in COMMANDS)), strict=True)
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name, helps):
    assert helps[name].returncode == 0
    assert f"Example: logvar {name}" in helps[name].stdout


def test_doctor_describes_the_environment(place):
    """Without a run, or before what it says of one."""
    done, nowhere, with_run, run_alone, neither = in_this_process(
        place,
        ["doctor", "--environment"],
        ["doctor", "--environment", "nowhere"],
        ["doctor", "--environment", "runs/table"],
        ["doctor", "runs/table"],
        ["doctor"],
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(said) == [
        "logvar", "Python", "JAX", "jaxlib", "NumPy", "scikit-learn", "processor",
        "JAX computes on", "kernels",
    ]  # fmt: skip
    assert said["JAX"] == jax.__version__ and said["NumPy"] == np.__version__
    assert said["JAX computes on"].startswith(f"{jax.default_backend()} (0: ")
    assert said["kernels"] == extension.description()
    assert nowhere.returncode == 2
    assert with_run.stdout.startswith(done.stdout)
    assert with_run.stdout.removeprefix(done.stdout) == run_alone.stdout != ""
    assert neither.returncode == 2 and neither.stderr == (
        "logvar: got no run: give RUN, or --environment\n"
    )


def test_convert_writes_a_run_that_loads_and_says_what_changed(place, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(place / "runs" / "table", runs / "table")
    shutil.copy(place / "table.npy", tmp_path)
    names = ("table", "table-log-std")
    done, *scored, again, wrong = in_this_process(
        tmp_path,
        ["convert", "runs/table", "--scale", "log-std"],
        *(["score", f"runs/{name}", "--out", f"{name}-scores.npy"] for name in names),
        ["convert", "runs/table", "--scale", "log-std"],
        ["convert", "runs/table", "--scale", "log-sd"],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bitwise: on 60 rows σ changes by at most 0 of itself")
    assert json.loads((runs / "table-log-std" / "conversion.json").read_text())["to"] == "log-std"
    # The weights are another file; what the model says of a row is the same number.
    assert [score.returncode for score in scored] == [0, 0]
    np.testing.assert_array_equal(*(np.load(tmp_path / f"{name}-scores.npy") for name in names))
    assert again.returncode == 2 and "already exists" in again.stderr
    assert wrong.returncode == 2 and "did you mean 'log-std'" in wrong.stderr
    assert sorted(path.name for path in runs.iterdir()) == ["table", "table-log-std"]


def test_flags_are_the_recipes_settings():
    import dataclasses

    settings = {f.name: f.default for f in dataclasses.fields(Settings)}
    assert settings == Recipe.settings()


def test_a_schedule_on_the_command_line_is_not_resumed_with_more_epochs(place):
    rate = ["--learning-rate", "cosine(1e-3, warmup=1)", "--optimizer", "sgd(momentum=0.9)"]
    fit = ["fit", "table.npy", *QUICK, *rate, "--out", "runs/cosine"]
    try:
        first, again, more, doctor = in_this_process(
            place, fit, [*fit, "--resume"], [*fit, "--resume", "--epochs", "4"],
            ["doctor", "runs/cosine"],
        )  # fmt: skip
        assert first.returncode == 0
        recipe = (place / "runs" / "cosine" / "recipe.toml").read_text()
        assert 'learning_rate = "cosine(rate=0.001, warmup=1.0)"' in recipe
        assert "already finished" in again.stdout
        assert more.returncode == 2 and "runs to their end" in more.stderr
        assert doctor.stdout.count("SGD step of 0.001") == 1
    finally:
        shutil.rmtree(place / "runs" / "cosine", ignore_errors=True)


def test_presets_set_defaults_and_flags_override_them(tmp_path):
    done = logvar(tmp_path, "fit", "--preset", "tutorial", "--help")
    text = " ".join(done.stdout.split())
    assert "(default: adam-keras)" in text and "(default: threshold)" in text


WRONG = ["fit", "table.npy", *QUICK, "--out", "runs/wrong"]
BAD = {
    "unknown data": (["fit", "table.np"], "no file or folder"),
    "unknown command": (["fitt", "digits"], "unknown command 'fitt': did you mean 'fit'"),
    "a negative seed": (["sample", "runs/table", "--seed", "-1", "--out", "s.npy"], "--seed is -1"),
    "no importance samples": (["score", "runs/table", "--importance-samples", "0", "--out", "s.npy"], "--importance-samples is 0"),
    "no draws": (["sample", "runs/table", "--n", "0", "--out", "s.npy"], "--n is 0"),
    "unknown preset": (["fit", "digits", "--preset", "tutorail"], "did you mean 'tutorial'"),
    "unknown scale": (["fit", "table.npy", "--scale", "logstd"], "did you mean 'log-std'"),
    "no network": (["fit", "table.npy", "--network", "conv", "--out", "c"], "expected images"),
    "no run": (["evaluate", "nowhere"], "is not a folder"),
    "not a run": (["evaluate", "runs"], "has no manifest.json"),
    "wrong ending": (["encode", "runs/table", "--out", "codes.txt"], "expected .npy, .csv"),
    "no such folder": (["encode", "runs/table", "--out", "x/codes.npy"], "does not exist"),
    "wrong features": (["encode", "runs/table", "narrow.npy", "--out", "codes.npy"], "narrow.npy has 3 features"),
    "an existing run": (["fit", "table.npy", *QUICK, "--out", "runs/table"], "already exists"),
    "unwritable": (["fit", "table.npy", *QUICK, "--out", "/proc/x/run"], "cannot write"),
    "unknown flag": (["fit", "table.npy", "--latentdim", "3"], "latent-dim"),
    "out is the run's data": (["encode", "runs/table", "--out", "table.npy"], "is the data itself"),
    "out is the given data": (["score", "runs/table", "./narrow.npy", "--out", "narrow.npy"], "is the data itself"),
    "samples over the data": (["sample", "runs/table", "--out", "table.npy"], "is the data itself"),
    "zero samples": (["evaluate", "runs/table", "--importance-samples", "0"], "at least 1"),
    "removed flag": ([*WRONG, "--weight-decay", "1e-4"], "--optimizer 'adam(weight_decay=1e-4)'"),
    "unknown optimizer": ([*WRONG, "--optimizer", "adm"], "unknown optimizer 'adm': did you mean 'adam'"),
    "wrong setting": ([*WRONG, "--optimizer", "adam(b1=2)"], "b1 is 2, expected at least 0 and below 1"),
    "unknown schedule": ([*WRONG, "--learning-rate", "cosin(1e-3)"], "did you mean 'cosine'"),
    "long warm-up": ([*WRONG, "--learning-rate", "cosine(1e-3, warmup=3)"], "leaves nothing of the run's"),
    "a schedule's object": ([*WRONG, "--learning-rate", "custom"], "stands for an object"),
}  # fmt: skip


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def refused(place):
    """What each bad command gave, and the files before and after all of them."""
    np.save(place / "narrow.npy", TABLE[:, :3])
    before = contents(place)
    done = in_this_process(place, *(arguments for arguments, _ in BAD.values()))
    return dict(zip(BAD, done, strict=True)), before, contents(place)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(refused, case):
    _, message = BAD[case]
    all_done, before, after = refused
    done = all_done[case]
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    if case != "unknown flag":
        assert len(done.stderr.strip().splitlines()) == 1
    assert after == before


@pytest.mark.parametrize(("number", "code"), [slow(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_fit_saves_what_it_learned(place, tmp_path, number, code):
    arguments = ["fit", str(place / "table.npy"), *QUICK, "--epochs", "1000000", "--patience", "0"]
    process = subprocess.Popen(
        command(*arguments, "--out", "run"), cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        # The metrics appear as they are measured: wait until some epochs are done.
        metrics = tmp_path / ".run.unfinished" / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text().count("\n") > 3):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["ended"] == "interrupted" and manifest["epochs_run"] > 3
    assert list((tmp_path / "run" / "checkpoints").glob("*/checkpoint.json"))
    (evaluated,) = in_this_process(place, ["evaluate", str(tmp_path / "run")])
    assert evaluated.returncode == 0


def test_a_second_run_finds_every_program_compiled(place):
    """Small ones, too: twenty of them are half a second."""
    code = (
        "import collections, sys, jax; from logvar.cli.main import main\n"
        "events = collections.Counter()\n"
        "jax.monitoring.register_event_listener(lambda name, **_: events.update([name]))\n"
        f"sys.argv = ['logvar', 'fit', 'table.npy', *{QUICK}, '--out', 'runs/again']\n"
        "main()\n"
        "of = '/jax/compilation_cache/'\n"
        "print('asked', events[of + 'compile_requests_use_cache'], 'found', events[of + 'cache_hits'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment(), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    _, asked, _, found = done.stdout.splitlines()[-1].split()
    assert int(asked) == int(found) > 10


def fit_in_this_process(out, monkeypatch, resume=False, **settings):
    from logvar.cli import fitting
    from logvar.data import sources

    monkeypatch.setenv("LOGVAR_CACHE", "")
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    monkeypatch.setattr(
        sources, "load", lambda *arguments, **choices: sources.Dataset("table", TABLE)
    )
    chosen = (
        Recipe.settings() | {"epochs": 3, "latent_dim": 2, "network": "mlp(hidden=[8])"} | settings
    )
    fitting.fit("table", chosen, out, False, None, 2, fitting.CheckpointFlags(resume=resume))


def test_a_run_resumes_on_another_machine_and_prints_one_line(tmp_path, monkeypatch, capsys):
    from logvar.cli import fitting
    from logvar.runs import resuming

    monkeypatch.setattr(fitting, "write_report", lambda *arguments: None)
    out = tmp_path / "run"
    fit_in_this_process(out, monkeypatch)
    fit_in_this_process(out, monkeypatch, resume=True, epochs=4)
    assert "bytes" not in capsys.readouterr().out
    there = resuming.environment() | {"processor": "Other 9000"}
    monkeypatch.setattr(resuming, "environment", lambda: there)
    fit_in_this_process(out, monkeypatch, resume=True, epochs=6)
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if "Other 9000" in line or "bytes" in line]
    assert len(said) == 1 and said[0].endswith("differ from those of an unbroken run")
    assert "finished after 6 epochs" in lines


@pytest.mark.parametrize("problem", [KeyboardInterrupt, SystemExit(143), OSError("disk on fire")])
def test_a_problem_after_training_does_not_lose_it(tmp_path, monkeypatch, problem):
    import logvar

    def evaluate(*arguments, **settings):
        raise problem

    monkeypatch.setattr(logvar.VAE, "evaluate", evaluate)
    with pytest.raises(problem if isinstance(problem, type) else type(problem)):
        fit_in_this_process(tmp_path / "run", monkeypatch)
    assert logvar.load(tmp_path / "run").transform(TABLE).shape == (60, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_diverged_run_is_kept_with_its_reason(tmp_path, monkeypatch):
    import logvar

    with pytest.raises(logvar.LogvarError, match="Likely cause: the learning rate"):
        fit_in_this_process(
            tmp_path / "run", monkeypatch, optimizer="sgd", learning_rate=1e6, epochs=50
        )
    assert logvar.load(tmp_path / "run").ended_ == "not finite"
