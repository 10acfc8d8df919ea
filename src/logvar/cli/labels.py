"""`logvar predict`, and labels as they are written on the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from logvar.classifier import VAEClassifier
from logvar.cli.blocks import Block, over_blocks
from logvar.cli.inputs import Rows, all_rows
from logvar.cli.outputs import Numbers, refuse_its_data
from logvar.data.annotated import is_annotated, named_columns
from logvar.data.table.choices import Choices
from logvar.data.table.frame import Table
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.evaluation.summary import Evaluation
from logvar.loading import load
from logvar.storage.compiled import keep_compiled_programs


def predict(run: Path, data: str | None, data_dir: str | None, out: Path) -> None:
    """Write the probability of each label, and the most probable one, beside the identifiers."""
    keep_compiled_programs()
    vae = classifier(load(run))
    refuse_its_data(out, data or vae.recipe_.data.data)
    given = all_rows(vae, data, data_dir)
    classes = vae.classes_.tolist()
    column = vae.fitted_.labels.column if vae.fitted_.labels is not None else None
    column = "label" if column is None else str(column).strip()
    names = [f"p({str(label).strip()})" for label in classes]

    def write(blocks: Iterator[Block]) -> None:
        with Numbers(out, len(given), names) as file:
            for block in blocks:
                probabilities = vae.predict_proba(block.taken)
                best = [classes[i] for i in np.argmax(probabilities, axis=1)]
                file.append(probabilities, block.identifiers, {column: best})

    over_blocks(given, vae.fitted_, write, len(classes))


def label_in(vae: VAE, text: str) -> Any:
    """Return the label that a text stands for.

    Raises:
        LogvarError: the run has learned no labels, or the text is none of them.
    """
    labels = classifier(vae).classes_.tolist()
    by_text = {str(label).strip(): label for label in labels}
    if text.strip() not in by_text:
        shown = ", ".join(list(by_text)[:10]) + (", …" if len(by_text) > 10 else "")
        raise LogvarError(f"--label {text!r} is no label of this run: expected one of {shown}")
    return by_text[text.strip()]


def known_labels(rows: Any, labels: Any, choices: Choices) -> Any:
    """Return the labels beside rows, as `VAEClassifier` takes them; None if they are in a table.

    Args:
        rows: a table, an AnnData object, or an array.
        labels: those of an array, if its source has some.
        choices: which columns of an AnnData object are labels: the first of them is learned.
    """
    if isinstance(rows, Table):
        return None
    if is_annotated(rows):
        import pandas  # as anndata does

        found = next(iter(named_columns(rows, choices.said())[1].items()), None)
        return None if found is None else pandas.Series(found[1], name=str(found[0]))
    return labels


def evaluated(vae: VAE, judged: Rows, n_importance: int) -> Evaluation:
    """Return the figures of a run on some rows, with the accuracy if it has learned a label."""
    told: dict[str, Any] = {}
    if isinstance(vae, VAEClassifier):
        choices = Choices.of(vae.recipe_.data)
        told = {"y": known_labels(judged.rows, judged.labels, choices)}
    return vae.evaluate(judged.taken, split=judged.split, n_importance=n_importance, **told)


def classifier(vae: VAE) -> VAEClassifier:
    """Return the estimator of a run with labels.

    Raises:
        LogvarError: the run has learned none.
    """
    if not isinstance(vae, VAEClassifier):
        raise LogvarError(
            "this run has learned no label: fit it again with --label NAME --objective labelled"
        )
    return vae
