"""`logvar.load`: a run folder as the estimator that it was fitted with."""

import os
from collections.abc import Collection
from typing import Any

from logvar.classifier import VAEClassifier
from logvar.estimator import VAE
from logvar.networks import Network
from logvar.runs.loading import load_fitted


def load(
    path: str | os.PathLike,
    *,
    encoder: Network | None = None,
    decoder: Network | None = None,
    optimizer: Any = None,
    learning_rate: Any = None,
    parts: Collection[type] = (),
) -> VAE:
    """Load a fitted `VAE` or `VAEClassifier` from a run folder, without running any code from it.

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
    estimator = VAE if fitted.labels is None else VAEClassifier
    return estimator.of(fitted)
