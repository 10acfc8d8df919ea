"""Samplers of a run, for `logvar sample --from`."""

from pathlib import Path

import numpy as np

from logvar import samplers
from logvar.cli.console import say
from logvar.cli.inputs import halves_of, load_for, rows_at
from logvar.estimator import VAE
from logvar.samplers.storage import check_sampled, name_of, write_samplers


def fit_missing_sampler(vae: VAE, run: Path, sampler: str) -> None:
    """Fit a sampler to the run's training rows and keep it in the run, if it is not there.

    Raises:
        LogvarError: the sampler is unknown, or the run's data are not there any more.
    """
    text = samplers.describe(samplers.get(sampler))
    name = name_of(sampler)
    if name in vae.samplers_ and (sampler == name or vae.samplers_[name][0] == text):
        return
    check_sampled(vae.model_)  # before the data are read
    dataset = load_for(vae.fitted_, None, None)
    kept = halves_of(dataset, vae.fitted_).trained
    vae.fit_sampler(rows_at(dataset.train, np.sort(kept)), sampler)
    write_samplers(run, {text: vae.samplers_[name][1]})
    say(f"fitted {text} to {len(kept):,} rows, kept in {run}")
