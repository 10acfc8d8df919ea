"""What version 0.1 wrote is read, and its settings are answered with their new spelling."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import logvar
from logvar.assembly.parts import specs
from logvar.cli.main import main
from logvar.recipe import Recipe
from logvar.recipe.older import MOVED
from logvar.runs.checkpoints import Checkpoints
from logvar.runs.converting import convert
from logvar.runs.loading import load_state

FIXTURES = Path(__file__).parents[1] / "fixtures"
# Binary rows, whose likelihood had no use for the noise that the recipe names:
# VAE(latent_dim=1, hidden=(2,), noise="per-feature", objective="iwae", n_samples=2, epochs=2,
# patience=0, batch_size=16).fit(ROWS); the scores are those of the version that wrote it.
RUN = FIXTURES / "run-0.1-bernoulli"
ROWS = (np.random.default_rng(0).random((40, 4)) < 0.4).astype(np.float32)
SCORES = [-3.2361686, -2.9138331, -2.8228674, -1.5496287]

STUDENT_T = (
    "student-t(noise=per-feature, sigma=0.5, scale=softplus, floor=0.01, degrees_of_freedom=6.0)"
)
ELBO = "elbo(analytic_kl=False, beta=4.0, warmup=20.0, free_bits=0.1, samples=3)"
NEW = {
    "student-t": {
        "likelihood": STUDENT_T,
        "network": "mlp(hidden=[64, 32])",
        "objective": ELBO,
        "optimizer": "adamw(weight_decay=0.05)",
    },
    "iwae": {
        "likelihood": "auto(noise=optimal)",
        "network": "auto(hidden=[8])",
        "objective": "iwae(samples=5)",
        "optimizer": "adam",
    },
}


@pytest.mark.parametrize("name", NEW)
def test_a_recipe_of_version_0_1_says_the_same_in_new_texts(name):
    """The files are `Recipe.to_toml` of version 0.1, with all settings that it had."""
    text = (FIXTURES / f"recipe-0.1-{name}.toml").read_text("utf-8")
    assert all(f"\n{old} = " in text for old in MOVED)
    recipe = Recipe.from_toml(text)
    found = recipe.flat()
    assert {kind: found[kind] for kind in NEW[name]} == NEW[name]
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    defaults = Recipe().flat()
    for unchanged in defaults.keys() - NEW[name].keys():
        assert found[unchanged] == defaults[unchanged], unchanged


def test_the_new_texts_are_parts_with_the_old_numbers():
    recipe = Recipe.from_toml((FIXTURES / "recipe-0.1-student-t.toml").read_text("utf-8"))
    built = specs(recipe)
    noise = built.likelihood
    assert (noise.noise, noise.sigma, noise.floor) == ("per-feature", 0.5, 0.01)
    assert noise.degrees_of_freedom == 6.0 and noise.scale == logvar.scales.get("softplus")
    objective = built.objective
    assert (objective.beta, objective.warmup, objective.free_bits) == (4.0, 20.0, 0.1)
    assert objective.samples == 3 and not objective.analytic_kl
    assert built.network.hidden == (64, 32)


OLD = {
    "noise": ("optimal", "likelihood", "normal(noise=optimal)"),
    "noise_sigma": (0.5, "likelihood", "normal(sigma=0.5)"),
    "noise_scale": ("softplus", "likelihood", "normal(scale=softplus)"),
    "noise_floor": (0.01, "likelihood", "normal(floor=0.01)"),
    "degrees_of_freedom": (6.0, "likelihood", "student-t(degrees_of_freedom=6.0)"),
    "hidden": ((64, 32), "network", "mlp(hidden=[64, 32])"),
    "analytic_kl": (False, "objective", "elbo(analytic_kl=False)"),
    "beta": (4.0, "objective", "elbo(beta=4.0)"),
    "beta_warmup": (20.0, "objective", "elbo(warmup=20.0)"),
    "free_bits": (0.1, "objective", "elbo(free_bits=0.1)"),
    "n_samples": (3, "objective", "elbo(samples=3)"),
    "weight_decay": (0.05, "optimizer", "adam(weight_decay=0.05)"),
}


def test_each_setting_that_moved_is_tested():
    assert OLD.keys() == MOVED.keys()


@pytest.mark.parametrize("name", OLD)
def test_an_old_keyword_is_answered_with_its_new_spelling(name):
    value, part, text = OLD[name]
    for call in (lambda: logvar.VAE(**{name: value}), lambda: Recipe().replace(**{name: value})):
        with pytest.raises(logvar.LogvarError) as caught:
            call()
        said = str(caught.value)
        assert f"{name} is a setting of the {part}: write {part}='{text}'" in said
        assert "\n" not in said
    assert specs(Recipe().replace(**{part: text}))  # what it says is accepted


@pytest.mark.parametrize("name", OLD)
def test_an_old_flag_is_answered_with_its_new_spelling(name, monkeypatch, capsys, tmp_path):
    value, part, text = OLD[name]
    flag = "--" + name.replace("_", "-")
    given = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
    if isinstance(value, bool):
        given, flag, text = [], flag.replace("--", "--no-"), text.replace("False", "false")
    monkeypatch.chdir(tmp_path)
    for arguments in (
        [flag, *given],
        [f"{flag}={given[0]}"] if len(given) == 1 else [flag, *given],
    ):
        monkeypatch.setattr(sys, "argv", ["logvar", "fit", "digits", *arguments, "--epochs", "1"])
        with pytest.raises(SystemExit) as caught:
            main()
        error = capsys.readouterr().err
        assert caught.value.code == 2 and len(error.splitlines()) == 1
        assert f"{flag} is a setting of the {part}: write --{part} '{text}'" in error
    assert not list(tmp_path.iterdir())


def test_an_old_setting_beside_a_part_in_the_new_way_is_refused():
    with pytest.raises(logvar.LogvarError, match=r"noise is 'optimal'.*normal\(noise=optimal\)"):
        Recipe.from_toml('[model]\nlikelihood = "normal(sigma=2)"\nnoise = "optimal"\n')


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[model]\nhidden = "wide"', "hidden is 'wide': expected a list"),
        ("[model]\nnoise = 1", "noise is 1: expected a text"),
        ("[objective]\nbeta = true", "beta is True: expected a number"),
        ("[objective]\nn_samples = 1.5", "n_samples is 1.5: expected an integer"),
        ("[objective]\nanalytic_kl = 1", "analytic_kl is 1: expected true or false"),
    ],
)
def test_an_old_setting_of_another_type_is_refused(table, says):
    with pytest.raises(logvar.LogvarError, match=says):
        Recipe.from_toml(table + "\n")


def test_settings_that_version_0_1_ignored_are_left_out_of_its_runs(tmp_path):
    vae = logvar.load(RUN)
    assert (vae.likelihood, vae.network) == ("auto", "auto(hidden=[2])")
    assert vae.decisions_.likelihood == "bernoulli"
    np.testing.assert_allclose(vae.score_samples(ROWS[:4], n_samples=10), SCORES, rtol=1e-5)
    again = logvar.load(vae.save(tmp_path / "now"))
    np.testing.assert_array_equal(again.transform(ROWS), vae.transform(ROWS))


def test_its_state_can_be_converted_and_its_training_goes_on(tmp_path):
    vae = logvar.load(RUN)
    state = load_state(vae.fitted_, RUN)
    assert int(state.step) == 6 and state.totals.terms.statistic is None
    assert convert(vae, "log-std", ROWS)[1].kind == "bitwise"
    shutil.copytree(RUN / "checkpoints", tmp_path / "checkpoints")
    checkpoints = Checkpoints(tmp_path / "checkpoints", seconds=0)
    more = vae.set_params(epochs=3).fit(
        ROWS, checkpoints=checkpoints, resume=True, announce=lambda line: None
    )
    assert more.n_iter_ == 3 and more.history_[:2] == logvar.load(RUN).history_
