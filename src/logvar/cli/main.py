"""The command line: one function per command, each a few lines.

Only light modules are imported here; the rest is imported inside the commands that need it, so that
`logvar --help` answers at once. Exit codes: 0 done, 1 the doctor found a problem, 2 invalid input,
130 and 143 interrupted by Ctrl-C or SIGTERM. tests/test_startup.py checks that help and usage
errors import neither JAX nor scikit-learn.
"""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

import logvar
from logvar.cli.arguments import (
    ComparedSettings,
    Data,
    DataDir,
    Out,
    OwnData,
    Pictures,
    Run,
    Settings,
    defaults,
)
from logvar.cli.lists import numbers, top_level_commas
from logvar.cli.terminal import check_given, refuse_removed, warnings_in_one_line
from logvar.data.paths import check_readable, check_writable
from logvar.errors import LogvarError
from logvar.recipe import PRESETS, Recipe
from logvar.signals import leaving_unheard, unwinding
from logvar.storage.files import unfinished

if TYPE_CHECKING:
    import numpy as np

    from logvar.estimator import VAE


def _fit_from(shown: Any) -> Any:
    """Return the command fit with these defaults in its flags."""

    def fit(
        data: Data,
        /,
        settings: tyro.conf.OmitArgPrefixes[Settings] = shown,  # type: ignore[valid-type]
        preset: Annotated[
            str | None, tyro.conf.arg(metavar="NAME", help=f"start from: {', '.join(PRESETS)}")
        ] = None,
        out: Annotated[
            Path | None, tyro.conf.arg(metavar="DIR", help="the run folder; default runs/DATA")
        ] = None,
        overwrite: Annotated[bool, tyro.conf.arg(help="replace an earlier run there")] = False,
        resume: Annotated[
            bool, tyro.conf.arg(help="resume the interrupted run in that folder")
        ] = False,
        allow_changes: Annotated[
            bool, tyro.conf.arg(help="resume even if recipe or data have changed")
        ] = False,
        checkpoint_seconds: Annotated[
            float, tyro.conf.arg(help="seconds between checkpoints")
        ] = 60.0,
        checkpoint_epochs: Annotated[
            int, tyro.conf.arg(help="epochs between further checkpoints; 0 is off")
        ] = 0,
        data_dir: DataDir = None,
        importance_samples: Annotated[int, tyro.conf.arg(help="for the final likelihood")] = 100,
    ) -> None:
        """Fit a VAE and write a run folder with a report.

        Example: logvar fit digits --latent-dim 2 --out runs/digits
        """
        chosen = dataclasses.asdict(settings)
        # Errors in the arguments are reported before JAX is imported.
        Recipe().replace(**chosen).checked()
        check_readable(data)
        from logvar.cli import runs

        folder = out or Path("runs") / (Path(data).stem or "data")
        checkpointing = runs.CheckpointFlags(
            resume, allow_changes, checkpoint_seconds, checkpoint_epochs
        )
        runs.fit(data, chosen, folder, overwrite, data_dir, importance_samples, checkpointing)

    return fit


def evaluate(
    run: Run,
    data: OwnData = None,
    /,
    data_dir: DataDir = None,
    importance_samples: Annotated[int, tyro.conf.arg(help="samples per row")] = 100,
) -> None:
    """Print ELBO, log-likelihood and the rest, each with its protocol.

    Example: logvar evaluate runs/digits
    """
    check_given(run, data)
    from logvar.cli import runs

    runs.evaluate(run, data, data_dir, importance_samples)


def encode(run: Run, data: OwnData = None, /, *, out: Out, data_dir: DataDir = None) -> None:
    """Write the posterior means of DATA.

    Example: logvar encode runs/digits digits --out codes.csv
    """
    _write(run, data, data_dir, out, lambda vae, rows: vae.transform(rows), "latent")


def decode(
    run: Run,
    latents: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(metavar="LATENTS", help="as encode wrote them")
    ],
    /,
    *,
    out: Pictures,
) -> None:
    """Decode latents to E[x | z].

    Example: logvar decode runs/digits codes.csv --out decoded.npy
    """
    _write(run, str(latents), None, out, lambda vae, Z: vae.inverse_transform(Z), "decoded")


def reconstruct(
    run: Run, data: OwnData = None, /, *, out: Pictures, data_dir: DataDir = None
) -> None:
    """Encode and decode DATA; images may become PNG files in a folder, under their names.

    Example: logvar reconstruct runs/digits digits --out reconstructions.npy
    """
    _write(run, data, data_dir, out, lambda vae, rows: vae.reconstruct(rows), "x")


def score(
    run: Run,
    data: OwnData = None,
    /,
    *,
    out: Out,
    data_dir: DataDir = None,
    importance_samples: Annotated[int, tyro.conf.arg(help="samples per row")] = 100,
) -> None:
    """Write each row's log-likelihood of DATA, in nats; anomalies have low values.

    Example: logvar score runs/digits digits --out scores.csv
    """

    def scores(vae: "VAE", rows: "np.ndarray") -> "np.ndarray":
        return vae.score_samples(rows, importance_samples)

    _write(run, data, data_dir, out, scores, "log_likelihood")


def sample(
    run: Run,
    /,
    *,
    out: Pictures,
    n: Annotated[int, tyro.conf.arg(help="how many")] = 100,
    mean: Annotated[bool, tyro.conf.arg(help="write E[x | z] instead of a draw of x")] = False,
    seed: Annotated[int | None, tyro.conf.arg(help="default: the run's own")] = None,
) -> None:
    """Draw new examples from the model; images may become PNG files in a folder, or one .png.

    Example: logvar sample runs/digits --n 100 --out samples.npy
    """
    check_writable(out, pictures=True)
    check_given(run)
    from logvar.cli import runs

    runs.sample(run, out, n, mean, seed)


def convert(
    run: Run,
    data: OwnData = None,
    /,
    *,
    scale: Annotated[str, tyro.conf.arg(help="the new scale")],
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help="the new run folder; default RUN-SCALE")
    ] = None,
    overwrite: Annotated[bool, tyro.conf.arg(help="replace an earlier run there")] = False,
    match: Annotated[
        bool, tyro.conf.arg(help="within the log family, train on as under the old scale")
    ] = True,
    data_dir: DataDir = None,
) -> None:
    """Convert a run to another scale, weights and optimizer, and print what that changes.

    Example: logvar convert runs/digits --scale log-std
    """
    check_given(run, data)
    from logvar.cli import runs

    runs.convert(run, data, data_dir, scale, out, overwrite, match)


def compare(
    data: Data,
    /,
    settings: tyro.conf.OmitArgPrefixes[ComparedSettings] = ComparedSettings(  # type: ignore[valid-type]  # noqa: B008
        epochs=80, patience=10
    ),
    scales: Annotated[
        str, tyro.conf.arg(metavar="NAMES", help="separated by commas; the reference first")
    ] = "log-variance,log-std,softplus",
    learning_rates: Annotated[
        str | None, tyro.conf.arg(metavar="RATES", help="the grid; default 1e-3,3e-3,1e-2")
    ] = None,
    seeds: Annotated[int, tyro.conf.arg(help="runs in each cell, paired; at least 2")] = 8,
    arms: Annotated[
        str, tyro.conf.arg(metavar="ARMS", help="as is, matched (same start and step in log σ)")
    ] = "as is,matched",
    margin: Annotated[float, tyro.conf.arg(help="nats that count as no difference")] = 0.2,
    level: Annotated[float, tyro.conf.arg(help="confidence of all intervals together")] = 0.95,
    splits: Annotated[int, tyro.conf.arg(help="random splits of the data")] = 1,
    importance_samples: Annotated[int, tyro.conf.arg(help="per test row")] = 50,
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help="the folder; default runs/compare-DATA")
    ] = None,
    overwrite: Annotated[bool, tyro.conf.arg(help="replace an earlier comparison there")] = False,
    data_dir: DataDir = None,
) -> None:
    """Compare scales on DATA: verdicts with intervals, a table of runs, a report.

    If it was killed, the same command continues it. Example: logvar compare digits --seeds 8
    """
    folder = out or Path("runs") / f"compare-{Path(data).stem or 'data'}"
    experiment = {
        "scales": top_level_commas(scales),
        "learning_rates": learning_rates and numbers(learning_rates, "--learning-rates"),
        "seeds": seeds,
        "arms": top_level_commas(arms),
        "margin": margin,
        "level": level,
        "splits": splits,
        "importance_samples": importance_samples,
    }
    recipe = dataclasses.asdict(settings)
    Recipe().replace(**recipe).checked()  # before JAX is imported
    if recipe["learning_rate"] == Recipe().training.learning_rate:
        del recipe["learning_rate"]  # the grid has the rates, unless a schedule gives their shape
    check_readable(data)
    from logvar.cli import comparison

    chosen = experiment | recipe
    comparison.compare(data, data_dir, folder, overwrite, chosen)


def report(run: Run, data: OwnData = None, /, data_dir: DataDir = None) -> None:
    """Draw a run's report again.

    Example: logvar report runs/digits
    """
    check_given(run, data)
    from logvar.cli import runs

    runs.report(run, data, data_dir)


def doctor(
    run: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help="a run folder")
    ] = None,
    data: OwnData = None,
    /,
    environment: Annotated[
        bool, tyro.conf.arg(help="describe versions, processor and kernels; needs no run")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Check a run, finished or not, and say what is wrong: exit code 1 if something is.

    Example: logvar doctor runs/digits
    """
    if run is None and not environment:
        raise LogvarError("got no run: give RUN, or --environment")
    if run is not None and not unfinished(run).is_dir():
        check_given(run, data)
    from logvar.cli import runs

    runs.doctor(run, data, data_dir, environment)


def scales(
    names: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help="scales")
    ] = (),
    /,
    code: Annotated[
        str | None,
        tyro.conf.arg(metavar="FRAMEWORK", help="its code for numpy, jax, torch or tensorflow"),
    ] = None,
    plot: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help="draw them: .png, .svg or .pdf")
    ] = None,
    run: Annotated[
        Path | None, tyro.conf.arg(metavar="RUN", help="draw a run's raw outputs beneath")
    ] = None,
) -> None:
    """List the scale parameterizations, or show facts, code or a plot of some of them.

    Example: logvar scales softplus --code torch
    """
    if run is not None and plot is not None:
        check_given(run)
    from logvar.cli import scales as scale_commands

    scale_commands.show(names, code, plot, run)


def parts(
    kind: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="KIND", help="such as prior; by default all kinds"),
    ] = None,
    name: Annotated[
        str | None,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="NAME", help="one part in full, such as mixture"),
    ] = None,
    /,
) -> None:
    """List the parts that a model can use, with settings, formulas and sources.

    Example: logvar parts prior mixture
    """
    from logvar.cli import parts as catalogue

    catalogue.show(kind, name)


def _write(
    run: Path, data: str | None, data_dir: str | None, out: Path, function: Any, name: str
) -> None:
    check_writable(out, pictures=name in ("x", "decoded"))
    check_given(run, data)
    from logvar.cli import runs

    runs.write(run, data, data_dir, out, function, name)


def main() -> None:
    """Run the command line; invalid input is answered in one line with exit code 2."""
    if sys.argv[1:2] == ["--version"]:
        print(f"logvar {logvar.__version__}")  # noqa: T201
        return
    try:
        refuse_removed(sys.argv[1:])
        app = tyro.extras.SubcommandApp()
        fit = _fit_from(defaults() if sys.argv[1:2] == ["fit"] else Settings())
        for command in (
            fit, evaluate, encode, decode, reconstruct, score, sample, convert, report, doctor,
            parts, scales, compare,
        ):  # fmt: skip
            app.command(command)
        with unwinding(), leaving_unheard(harmless=lambda: True), warnings_in_one_line():
            app.cli(
                prog="logvar",
                description="Variational autoencoders in which the scale parameterization is one "
                "explicit object. `logvar --version` prints the version.",
            )
    except LogvarError as error:
        print(f"logvar: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except KeyboardInterrupt:
        print("logvar: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
