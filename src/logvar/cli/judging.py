"""`logvar evaluate`, `report` and `doctor`: what a run is worth, on rows it did not train on."""

from pathlib import Path

from logvar.cli.console import counted, say
from logvar.cli.factors import known_factors
from logvar.cli.inputs import rows_for
from logvar.cli.labels import evaluated
from logvar.cli.terminal import at_least_one
from logvar.evaluation.disentanglement.scores import disentanglement
from logvar.evaluation.health import ACTIVE
from logvar.evaluation.summary import Evaluation
from logvar.loading import load
from logvar.report.page import write_report
from logvar.runs.doctor import described_environment, ending, health
from logvar.storage import run_folder
from logvar.storage.compiled import keep_compiled_programs


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


def report(run: Path, data: str | None, data_dir: str | None) -> None:
    """Draw a run's report again from its folder and its data."""
    keep_compiled_programs()
    vae = load(run)
    judged = rows_for(vae.fitted_, data, data_dir)
    evaluation = evaluated(vae, judged, 100)
    path = write_report(run / run_folder.REPORT, vae, evaluation, judged.shown, judged.labels)
    say(f"report  {path}")


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
