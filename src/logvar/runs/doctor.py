"""`logvar doctor`: read a run, finished or not, and say what is wrong with it.

It can also describe the environment that runs are computed in.
"""

import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

import logvar
from logvar.assembly.parts import get
from logvar.backend import extension
from logvar.backend.sparse import Rows
from logvar.cores import available_cores
from logvar.data.images.shapes import fitting
from logvar.evaluation.elbo import elbo_terms
from logvar.evaluation.health import Finding, examine
from logvar.evaluation.health_of_parts import examine_parts
from logvar.evaluation.noise import summarize_noise
from logvar.fitted import Fitted
from logvar.recipe import CUSTOM
from logvar.registry import parsed
from logvar.rescaling.matching import factor_between
from logvar.storage import run_folder
from logvar.storage.checkpoints import FOLDER, newest_checkpoint
from logvar.storage.environment import processor
from logvar.storage.files import unfinished
from logvar.training import schedules


def ending(run: Path) -> list[Finding]:
    """Report how a run ended, from its folder alone.

    Raises:
        LogvarError: the folder has no run, neither complete nor unfinished.
    """
    findings = _of_the_unfinished(run)
    if not (run / run_folder.MANIFEST).is_file():
        if not findings:
            run_folder.read_manifest(run)
        return findings
    manifest = run_folder.read_manifest(run)
    text = f"{manifest.ended} after {manifest.epochs_run} epochs"
    fine = manifest.ended in ("finished", "stopped early")
    if manifest.ended == "interrupted":
        text += "; run the same command with --resume to continue"
    if manifest.diagnosis:
        text += f"; {manifest.diagnosis}"
    findings.insert(0, Finding("ending", fine, text))
    findings += [Finding("rescued", False, text) for text in manifest.rescues]
    return findings


def _of_the_unfinished(run: Path) -> list[Finding]:
    folder = unfinished(run)
    if not folder.is_dir():
        return []
    checkpoint, passed_over = newest_checkpoint(folder / FOLDER)
    findings = [Finding("checkpoint", False, f"skipped: {reason}") for reason in passed_over]
    if checkpoint is None:
        text = "a run was started here and has no checkpoint yet: it is running, or starts over"
    else:
        text = (
            f"a run was started here and has not ended: its newest checkpoint is at step "
            f"{checkpoint.step:,}, after {len(checkpoint.history)} epochs; if no process is "
            "running it, run the same command with --resume to continue"
        )
    return [Finding("unfinished", False, text), *findings]


def health(fitted: Fitted, rows: Rows, condition: np.ndarray | None = None) -> Sequence[Finding]:
    """Look for problems of a trained model on these rows."""
    examples, preparation = fitted.read(fitting(rows, fitted.shape), condition)
    terms = elbo_terms(fitted.model, examples, preparation, fitted.seed)
    if not np.isfinite(terms.raw).all():
        return [Finding("model", False, "its raw outputs are not finite: no further checks")]
    recipe = fitted.recipe
    settings = recipe.training
    is_custom = CUSTOM in (settings.optimizer, settings.learning_rate)
    findings = examine(
        fitted.model.scale,
        terms,
        summarize_noise(fitted.model, examples, preparation, fitted.seed),
        learning_rate=None if is_custom else schedules.get(settings.learning_rate).rate,
        optimizer=parsed(settings.optimizer).name,
        support=fitted.model.posterior.support,
        factor=factor_between(recipe.model.scale, settings.match) if settings.match else 1.0,
    )
    objective = get("objective", fitted.recipe.objective.objective, fitted.own.classes)
    epochs = len(fitted.history)
    return findings + examine_parts(
        fitted.model, terms, examples, preparation, fitted.seed, objective, epochs
    )


def described_environment() -> dict[str, str]:
    """Describe versions, processor, devices and kernels, for people to read."""
    found = {"logvar": logvar.__version__, "Python": platform.python_version()}
    for name, package in (("JAX", "jax"), ("jaxlib", "jaxlib"), ("NumPy", "numpy")):
        found[name] = importlib.metadata.version(package)
    found["scikit-learn"] = importlib.metadata.version("scikit-learn")
    found["processor"] = f"{processor()}, {available_cores()} cores"
    devices = ", ".join(f"{device.id}: {device.device_kind}" for device in jax.devices())
    found["JAX computes on"] = f"{jax.default_backend()} ({devices})"
    found["kernels"] = extension.description()
    return found
