"""Add to a conditional model what learns a label: a classifier, and the shares of the labels."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from logvar.assembly.parts import Classes, get
from logvar.assembly.start import Start
from logvar.backend.compiling import from_host
from logvar.data.labels import Codes, Labels
from logvar.errors import LogvarError
from logvar.models.labelled import LabelledVAE
from logvar.models.vae import VAEModel
from logvar.networks import Network, Shapes
from logvar.objectives import Objective, describe
from logvar.randomness import Purpose, stream


class Shares(NamedTuple):
    """The shares of the labels in the training rows."""

    log_prior: Float[np.ndarray, "classes"]
    """log p(y): the share of each label among the known ones."""
    known: Float[np.ndarray, ""]
    """The share of rows whose label is known."""

    @classmethod
    def of(
        cls,
        label: Codes | None,
        weight: Float[np.ndarray, "rows"] | None,
        labels: Labels | None,
    ) -> "Shares | None":
        """Return the shares of labels, each row counted by its weight; None if there are none.

        Raises:
            LogvarError: a label never occurs among these rows.
        """
        if label is None or labels is None:
            return None
        each = np.ones(len(label)) if weight is None else weight.astype(np.float64)
        counts = np.bincount(label[label >= 0], each[label >= 0], minlength=len(labels))
        if not counts.all():
            raise LogvarError(
                f"class {labels.classes[int(np.argmin(counts))]!r} has no row to train on, for all "
                "of its rows are held out: set validation_fraction=0, give validation_data, or "
                "label more rows"
            )
        prior = np.log(counts / counts.sum()).astype(np.float32)
        return cls(prior, np.asarray(counts.sum() / each.sum(), np.float32))

    @classmethod
    def unknown(cls, classes: int) -> "Shares":
        """Return placeholders for a model whose arrays are read from a file."""
        return cls(np.zeros(classes, np.float32), np.zeros((), np.float32))


def with_classifier(
    model: VAEModel,
    shares: Shares,
    network: str,
    own: Classes,
    seed: int,
    shapes: Shapes,
    drawn: bool,
) -> LabelledVAE:
    """Return a model that learns the label.

    Args:
        model: the conditional model; the labels are the last of its conditions.
        shares: those of the labels.
        network: the text of the network, whose encoder is the classifier's body, too.
        own: the user's own classes of parts.
        seed: the seed of the weights.
        shapes: what the encoder would read without labels; the other shapes are not used.
        drawn: whether to draw weights, or to leave shapes in their place.
    """
    spec = get("network", network, own)
    key = stream(seed, Purpose.CLASSIFIER)
    needed = shapes._replace(encoder_outputs=len(shares.log_prior))

    def build() -> Network:
        return spec.build(needed, key)[0]

    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(VAEModel)}
    return LabelledVAE(
        **fields,
        classifier=build() if drawn else eqx.filter_eval_shape(build),
        log_prior=from_host(shares.log_prior),
        known=from_host(shares.known),
    )


def check_objective(
    objective: Objective, start: Start | None, *, labels: bool, own_networks: bool
) -> None:
    """Check that the objective fits a model with or without labels to learn.

    Raises:
        LogvarError: it does not, or labels are to be learned beside the user's own networks or
            from another run's weights.
    """
    if start is not None and (labels or isinstance(start.model, LabelledVAE)):
        raise LogvarError(
            f"from_run={start.name!r} is for models without labels to learn: leave it out"
        )
    text = describe(objective)
    if labels and not objective.sums_out_labels:
        raise LogvarError(
            f"objective {text!r} is not defined for labels that are summed out: use "
            "objective='labelled', with settings if needed, as in 'labelled(alpha=0.1, beta=1)'"
        )
    if not labels and objective.sums_out_labels:
        raise LogvarError(
            f"objective {text!r} learns a label, and there is none: use logvar.VAEClassifier, or "
            "--label NAME for a column of a table"
        )
    if labels and own_networks:
        raise LogvarError(
            "encoder and decoder were given as objects, and a classifier of their kind cannot be "
            "built: leave them out, and choose a network by its name"
        )
