"""`logvar.load`: a run folder becomes an estimator again."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from logvar.classifier import VAEClassifier
from logvar.estimator import VAE
from logvar.networks import Network
from logvar.outliers import OutlierVAE, read_threshold
from logvar.runs.loading import load_fitted
from logvar.samplers.storage import read_sampler, saved_samplers
from logvar.storage import run_folder


def load(
    path: str | os.PathLike,
    *,
    encoder: Network | None = None,
    decoder: Network | None = None,
    optimizer: Any = None,
    learning_rate: Any = None,
    parts: Collection[type] = (),
) -> VAE:
    """Load a fitted estimator from a run folder, without running any code from it.

    An `OutlierVAE` or a `VAEClassifier` comes back as one; every other run is a `VAE`.

    Args:
        path: the run folder.
        encoder: if the run used networks of your own, a module of the same structure; its
            weights are replaced by those of the run.
        decoder: likewise.
        optimizer: if the run's optimizer was an object, that object; needed only to fit again or
            resume.
        learning_rate: likewise.
        parts: if the run used parts of your own classes, those classes; nothing is imported for
            you.

    Raises:
        LogvarError: the folder is not a complete run, a file was changed, the format is another, or
            the objects do not fit.

    Example:
        >>> import logvar, pathlib, tempfile
        >>> from sklearn.datasets import load_iris
        >>> vae = logvar.VAE(latent_dim=2, epochs=2).fit(load_iris().data)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = vae.save(pathlib.Path(folder) / "iris")
        ...     bool((logvar.load(path).transform(load_iris().data)
        ...           == vae.transform(load_iris().data)).all())
        True
    """
    fitted = load_fitted(
        path,
        encoder=encoder,
        decoder=decoder,
        optimizer=optimizer,
        learning_rate=learning_rate,
        parts=parts,
    )
    if (Path(path) / run_folder.OUTLIERS).is_file():
        found: VAE = OutlierVAE.of(fitted, read_threshold(Path(path)))
    elif fitted.labels is not None:
        found = VAEClassifier.of(fitted)
    else:
        found = VAE.of(fitted)
    found.samplers_ = {
        name: read_sampler(Path(path), name, fitted.latent_dim, load, parts)
        for name in saved_samplers(Path(path))
    }
    return found
