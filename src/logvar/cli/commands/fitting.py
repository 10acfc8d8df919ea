"""`logvar fit` and `logvar compare`: their flags."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import tyro

from logvar.cli.arguments import ComparedSettings, Data, DataDir, Settings, Source
from logvar.cli.commands.several import ALONE, Several
from logvar.cli.lists import numbers, top_level_commas
from logvar.data.paths import check_readable, stem
from logvar.recipe import PRESETS, Recipe
from logvar.runs.checkpoints import Checkpoints

NOTHING_SAID = Source()


def fit_from(shown: Any) -> Any:
    """Return the command fit with these defaults in its flags."""

    def fit(
        data: Data,
        /,
        source: tyro.conf.OmitArgPrefixes[Source] = NOTHING_SAID,
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
        ] = float(Checkpoints.seconds),
        checkpoint_epochs: Annotated[
            int, tyro.conf.arg(help="epochs between further checkpoints; 0 is off")
        ] = Checkpoints.epochs,
        data_dir: DataDir = None,
        importance_samples: Annotated[int, tyro.conf.arg(help="for the final likelihood")] = 100,
        several: tyro.conf.OmitArgPrefixes[Several] = ALONE,
    ) -> None:
        """Fit a VAE and write a run folder with a report.

        Of a table, the kind of each column is found and printed; --kind, --drop, --id, --label and
        --schema change it. Example: logvar fit adult.csv --drop fnlwgt --out runs/adult
        """
        chosen = several.settings(dataclasses.asdict(settings)) | source.images
        # Errors in the arguments are reported before JAX is imported.
        Recipe().replace(**chosen).checked()
        check_readable(data)
        choices = source.choices()
        with several.joined(chosen["shards"]):
            from logvar.cli import fitting

            folder = out or Path("runs") / (stem(data) or "data")
            checkpointing = fitting.CheckpointFlags(
                resume, allow_changes, checkpoint_seconds, checkpoint_epochs
            )
            fitting.fit(
                data, chosen, folder, overwrite, data_dir, importance_samples, checkpointing,
                choices,
            )  # fmt: skip

    return fit


def compare(
    data: Data,
    /,
    source: tyro.conf.OmitArgPrefixes[Source] = NOTHING_SAID,
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
    jobs: Annotated[
        int | None,
        tyro.conf.arg(metavar="N", help="fleets that train at a time, in processes; -1: all cores"),
    ] = None,
    backend: Annotated[
        str | None,
        tyro.conf.arg(metavar="NAME", help="what runs them: loky (this machine), dask or ray"),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare scales on DATA: verdicts with intervals, a table of runs, a report.

    If it was killed, the same command continues it. Example: logvar compare digits --seeds 8
    """
    folder = out or Path("runs") / f"compare-{stem(data) or 'data'}"
    experiment = {
        "scales": top_level_commas(scales),
        "learning_rates": learning_rates and numbers(learning_rates, "--learning-rates"),
        "seeds": seeds,
        "arms": top_level_commas(arms),
        "margin": margin,
        "level": level,
        "splits": splits,
        "importance_samples": importance_samples,
        "n_jobs": jobs,
        "backend": backend,
    }
    recipe = dataclasses.asdict(settings)
    Recipe().replace(**recipe).checked()  # before JAX is imported
    if recipe["learning_rate"] == Recipe().training.learning_rate:
        del recipe["learning_rate"]  # the grid has the rates, unless a schedule gives their shape
    check_readable(data)
    choices = source.choices()
    from logvar.cli import comparison

    chosen = experiment | recipe
    comparison.compare(data, data_dir, folder, overwrite, chosen, source.images, choices)
