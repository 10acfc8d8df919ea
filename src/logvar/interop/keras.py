"""Import a trained CVAE of the TensorFlow tutorial from its two .keras files."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from logvar import assembly
from logvar.assembly.decisions import Decisions
from logvar.errors import LogvarError
from logvar.estimator import VAE
from logvar.fitted import Fitted
from logvar.models.vae import VAEModel
from logvar.networks.tutorial import IMAGE
from logvar.recipe import preset

# The tutorial's layers in order, with the settings that determine their meaning.
_ENCODER: list[tuple[str, dict]] = [
    ("Conv2D", {"filters": 32, "kernel_size": [3, 3], "strides": [2, 2], "padding": "valid"}),
    ("Conv2D", {"filters": 64, "kernel_size": [3, 3], "strides": [2, 2], "padding": "valid"}),
    ("Flatten", {}),
    ("Dense", {"activation": "linear"}),
]
_DECODER: list[tuple[str, dict]] = [
    ("Dense", {"units": 1568, "activation": "relu"}),
    ("Reshape", {"target_shape": [7, 7, 32]}),
    ("Conv2DTranspose", {"filters": 64, "kernel_size": [3, 3], "strides": [2, 2]}),
    ("Conv2DTranspose", {"filters": 32, "kernel_size": [3, 3], "strides": [2, 2]}),
    ("Conv2DTranspose", {"filters": 1, "kernel_size": [3, 3], "strides": [1, 1]}),
]
_GROUPS = {"Conv2D": "conv2d", "Conv2DTranspose": "conv2d_transpose", "Dense": "dense"}
_LARGEST = 1 << 30


def import_keras(encoder_path: str | os.PathLike, decoder_path: str | os.PathLike) -> VAE:
    """Return a fitted `VAE` from the tutorial's trained networks, of any latent size.

    The estimator binarizes by threshold as the tutorial does: float images in [0, 1] at ½, uint8
    images at 128. No code of the files is run. Needs the extra `keras` (h5py).

    Args:
        encoder_path: the encoder, saved by `model.save("….keras")`.
        decoder_path: the decoder.

    Raises:
        LogvarError: a file cannot be read, or is not the tutorial's network.

    Reference:
        tensorflow/docs, site/en/tutorials/generative/cvae.ipynb.
    """
    encoder = _read(Path(encoder_path), _ENCODER)
    decoder = _read(Path(decoder_path), _DECODER)
    latent_dim = decoder[0][0].shape[0]
    if encoder[2][0].shape[1] != 2 * latent_dim:
        raise LogvarError(
            f"the encoder ends in {encoder[2][0].shape[1]} outputs and the decoder starts from "
            f"{latent_dim} latents: expected twice as many; the files do not belong together"
        )
    recipe = preset("tutorial").replace(latent_dim=latent_dim)
    decisions = Decisions("bernoulli", "tutorial", 1.0, ())
    skeleton = assembly.skeleton(recipe, decisions, IMAGE)
    model = eqx.tree_at(
        _layers, skeleton, [jnp.asarray(a) for layer in encoder + decoder for a in layer]
    )
    preparation = assembly.preparation(recipe, decisions)
    data = {"rows": 0}
    return VAE.of(
        Fitted(recipe, decisions, model, preparation, None, IMAGE, "float32", [], "imported", data)
    )


def _layers(model: VAEModel) -> list:
    """Return the tutorial's layers in the order of its files."""
    encoder: Any = model.encoder
    decoder: Any = model.decoder
    layers = [encoder.first, encoder.second, encoder.head]
    layers += [decoder.dense, decoder.first, decoder.second, decoder.head]
    return [array for layer in layers for array in (layer.kernel, layer.bias)]


def _read(path: Path, expected: list[tuple[str, dict]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (kernel, bias) of each layer with weights, after checking the layers themselves."""
    try:
        import h5py
    except ImportError as error:
        raise LogvarError("import_keras needs h5py: pip install 'logvar[keras]'") from error
    try:
        with zipfile.ZipFile(path) as archive:
            for name in ("config.json", "model.weights.h5"):
                if archive.getinfo(name).file_size > _LARGEST:
                    raise LogvarError(f"{path}: {name} is too large for such a network")
            config = json.loads(archive.read("config.json"))
            weights = io.BytesIO(archive.read("model.weights.h5"))
        layers = [
            layer for layer in config["config"]["layers"] if layer["class_name"] != "InputLayer"
        ]
        _check_layers(path, layers, expected)
        seen: dict[str, int] = {}
        arrays = []
        with h5py.File(weights) as file:
            for layer in layers:
                group = _GROUPS.get(layer["class_name"])
                if group is None:
                    continue
                index = seen.get(group, 0)
                seen[group] = index + 1
                variables = file["layers"][f"{group}_{index}" if index else group]["vars"]
                arrays.append((np.asarray(variables["0"]), np.asarray(variables["1"])))
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, LogvarError):
            raise
        raise LogvarError(
            f"{path} cannot be read as a .keras file ({str(error).splitlines()[0]}): save the "
            "network again with model.save('….keras') in Keras 3"
        ) from error
    return arrays


def _check_layers(path: Path, layers: list[dict], expected: list[tuple[str, dict]]) -> None:
    got = [layer["class_name"] for layer in layers]
    want = [name for name, _ in expected]
    if got != want:
        raise LogvarError(
            f"{path} has the layers {', '.join(got)}: expected the tutorial's, {', '.join(want)}"
        )
    for layer, (name, settings) in zip(layers, expected, strict=True):
        for key, value in settings.items():
            if layer["config"].get(key) != value:
                raise LogvarError(
                    f"{path}: {name} has {key} {layer['config'].get(key)!r}, expected {value!r} as "
                    "in the tutorial"
                )
