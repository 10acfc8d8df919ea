"""`logvar evaluate`, `report` and `doctor`: what a run is worth, on rows it did not train on."""

from pathlib import Path

from logvar.cli.console import counted, say
from logvar.cli.factors import known_factors
from logvar.cli.inputs import rows_for
from logvar.cli.labels import evaluated
from logvar.cli.terminal import at_least_one
from logvar.errors import LogvarError
from logvar.evaluation.disentanglement.scores import disentanglement
from logvar.evaluation.health import ACTIVE
from logvar.evaluation.summary import Evaluation, importance_samples_of
from logvar.loading import load
from logvar.report.page import write_report
from logvar.runs.doctor import described_environment, ending, health
from logvar.storage import run_folder
from logvar.storage.compiled import keep_compiled_programs

SAMPLES = 100
"""Importance samples of each row, unless another number is given."""


def evaluate(
    run: Path,
    data: str | None,
    data_dir: str | None,
    importance_samples: int,
    factors: str | None = None,
) -> None:
    """Print the figures of a run on its own evaluation rows, or on other data."""
    keep_compiled_programs()
    at_least_one("--importance-samples", importance_samples)
    vae = load(run)
    judged = rows_for(vae.fitted_, data, data_dir)
    known = None if factors is None else known_factors(factors)
    print_evaluation(evaluated(vae, judged, importance_samples))
    if known is not None:
        say(f"disentanglement, {disentanglement(vae.transform(judged.taken), known)}")


def report(
    run: Path, data: str | None, data_dir: str | None, importance_samples: int | None = None
) -> None:
    """Draw a run's report again from its folder and its data.

    Without a number of importance samples it is the one that the run was evaluated with.
    """
    keep_compiled_programs()
    if importance_samples is not None:
        at_least_one("--importance-samples", importance_samples)
    vae = load(run)
    judged = rows_for(vae.fitted_, data, data_dir)
    evaluation = evaluated(vae, judged, importance_samples or _samples_of(run))
    path = run / run_folder.REPORT
    write_report(path, vae, evaluation, judged.shown, judged.labels, _seconds_of(run))
    say(f"report  {path}")


def _samples_of(run: Path) -> int:
    """Return how many importance samples a run was evaluated with; 100 if it does not say."""
    path = run / run_folder.EVALUATION
    if not path.is_file():
        return SAMPLES
    try:
        return importance_samples_of(run_folder.read_json(path)) or SAMPLES
    except (ValueError, AttributeError, TypeError) as error:
        raise LogvarError(
            f"{path} is not what logvar wrote ({error}): remove it, or give --importance-samples"
        ) from error


def _seconds_of(run: Path) -> list[float]:
    """Return how long each epoch took, as far as a run has it."""
    path = run / run_folder.TIMING
    if not path.is_file():
        return []
    try:
        return [float(line["seconds"]) for line in run_folder.read_lines(path)]
    except (ValueError, KeyError, TypeError) as error:
        raise LogvarError(
            f"{path} is not what logvar wrote ({error}): remove it, and the report has no clocks"
        ) from error


def doctor(
    run: Path | None, data: str | None, data_dir: str | None, with_environment: bool
) -> None:
    """Check a run and print the problems; exit code 1 if there are any."""
    if with_environment:
        for name, value in described_environment().items():
            say(f"{name}: {value}")
    if run is None:
        return
    keep_compiled_programs()
    findings = list(ending(run))
    if (run / run_folder.MANIFEST).is_file():
        fitted = load(run).fitted_
        given = rows_for(fitted, data, data_dir).taken
        findings += health(fitted, given.rows, given.condition)
    for finding in findings:
        say(str(finding))
    if not all(finding.fine for finding in findings):
        raise SystemExit(1)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print each figure with its standard error and how it was computed."""
    protocol = evaluation.protocol
    error = ", ± standard error over rows" if protocol.rows > 1 else "; one row has no spread"
    rows = counted(protocol.rows, "row")
    say(f"on {rows} ({protocol.split}), binarization {protocol.binarization}{error}:")
    for figure in evaluation.figures:
        name = figure.name.replace("_", " ")
        say(f"  {name:<20}{figure!s:<36} {figure.how}")
    if evaluation.noise is not None:
        say(f"  {'noise':<20}{evaluation.noise}")
    if evaluation.outside:
        say(
            f"  {'outside':<20}{evaluation.outside:,} of {rows}: outside of what the encoder was "
            "trained on"
        )
    active = f"{evaluation.active_units} of {evaluation.latents}"
    say(f"  {'active units':<20}{active:<36} {ACTIVE}")
    raw = evaluation.raw_outputs
    say(
        f"  {'raw outputs':<20}{raw.quantiles['0']:.2f} … {raw.quantiles['1']:.2f}, "
        f"{raw.share_outside:.2%} outside the safe range"
    )
