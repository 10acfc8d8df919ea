"""The peers' side of each comparison; runs in benchmarks/.venv, imports what it needs only."""

import tempfile

import numpy as np

from data import mnist

BATCH, LATENTS, HIDDEN = 128, 20, 512


def tensorflow_tutorial_step():
    """The tutorial's step: tf.function, Keras layers, batches of 32 from tf.data."""
    import tensorflow as tf

    from tensorflow_tutorial import log_normal, networks

    encoder, decoder = networks()
    optimizer = tf.keras.optimizers.Adam(1e-4)
    variables = encoder.trainable_variables + decoder.trainable_variables

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            mean, log_variance = tf.split(encoder(x), 2, axis=1)
            eps = tf.random.normal(tf.shape(mean))
            z = eps * tf.exp(log_variance * 0.5) + mean
            logits = decoder(z)
            cross = tf.nn.sigmoid_cross_entropy_with_logits(logits=logits, labels=x)
            log_p = -tf.reduce_sum(cross, axis=[1, 2, 3]) + log_normal(z, 0.0, 0.0)
            loss = -tf.reduce_mean(log_p - log_normal(z, mean, log_variance))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    images = (mnist()[0] >= 128).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices(images).shuffle(60_000).batch(32).repeat()
    source = iter(batches)

    def repeat():
        for _ in range(100):
            step(next(source))

    return repeat, 100


def torch_tutorial_step():
    """The same networks in a plain PyTorch loop, channels last."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(2304, 4),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(2, 1568), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)),
        nn.ConvTranspose2d(32, 64, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 3, 2, 1, 1),
        nn.ReLU(), nn.ConvTranspose2d(32, 1, 3, 1, 1),
    )  # fmt: skip
    encoder, decoder = (m.to(memory_format=torch.channels_last) for m in (encoder, decoder))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-4)
    images = torch.from_numpy((mnist()[0][:, None, :, :, 0] >= 128).astype("float32"))
    images = images.to(memory_format=torch.channels_last)

    def log_normal(z, mean, log_variance):
        inside = (z - mean) ** 2 * torch.exp(-log_variance) + log_variance + np.log(2 * np.pi)
        return (-0.5 * inside).sum(1)

    def repeat():
        for indices in torch.randperm(len(images))[:3200].split(32):
            x = images[indices]
            mean, log_variance = encoder(x).chunk(2, 1)
            z = torch.randn_like(mean) * torch.exp(log_variance * 0.5) + mean
            cross = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="none")
            zero = torch.zeros(())
            log_p = -cross.sum((1, 2, 3)) + log_normal(z, zero, zero)
            loss = -(log_p - log_normal(z, mean, log_variance)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return repeat, 100


def _pythae():
    from pythae.models import VAE, VAEConfig

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENTS, reconstruction_loss="bce")
    return VAE(config)  # its default networks are 784-512-latent, as ours here


def pythae_epoch():
    """An epoch of pythae's own trainer: loader, metrics and progress included."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    images = (mnist()[0][:, None, :, :, 0] / 255).astype("float32")
    import torch

    data = BaseDataset(torch.from_numpy(images), torch.zeros(len(images)))
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(), num_epochs=1, per_device_train_batch_size=BATCH,
        learning_rate=1e-3, no_cuda=True,
    )  # fmt: skip
    trainer = BaseTrainer(model=_pythae(), train_dataset=data, training_config=config)
    trainer.prepare_training()
    return lambda: trainer.train_step(1), 1


def pythae_likelihood():
    """pythae's get_nll: 500 samples × 1,000 images."""
    import torch

    model = _pythae().eval()
    images = torch.from_numpy((mnist()[1][:1000, None, :, :, 0] / 255).astype("float32"))

    def repeat():
        with torch.no_grad():
            model.get_nll(images, n_samples=500, batch_size=500)

    return repeat, 1


def torch_encode():
    """60,000 images through the encoder 784-512-20, eager, in batches of 1,000."""
    import torch
    from torch import nn

    body = nn.Sequential(
        nn.Flatten(), nn.Linear(784, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 2 * LATENTS)
    )
    rows = mnist()[0]

    def repeat():
        with torch.no_grad():
            means = [
                body(torch.from_numpy(rows[i : i + 1000].astype("float32") / 255))[
                    :, :LATENTS
                ].numpy()
                for i in range(0, len(rows), 1000)
            ]
        return np.concatenate(means)

    return repeat, 1


WORKS = {
    "tensorflow-tutorial-step": tensorflow_tutorial_step,
    "torch-tutorial-step": torch_tutorial_step,
    "pythae-epoch": pythae_epoch,
    "pythae-likelihood": pythae_likelihood,
    "torch-encode": torch_encode,
}
