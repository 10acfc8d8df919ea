"""Seconds per epoch of the TensorFlow tutorial's CVAE on this machine.

    python benchmarks/tensorflow_tutorial.py PATH/TO/train-images-idx3-ubyte.gz

Needs TensorFlow in the environment it runs in. Written from the description of the tutorial in
docs/tutorial.md: tf.function around one Adam step, batches of 32 from a shuffled tf.data pipeline.
"""

import gzip
import sys
import time

import numpy as np
import tensorflow as tf

LATENT_DIM, BATCH, EPOCHS = 2, 32, 3


def load(path):
    with gzip.open(path) as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28, 1)
    return (pixels >= 128).astype("float32")


def networks():
    layers = tf.keras.layers
    encoder = tf.keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(2 * LATENT_DIM),
        ]
    )
    decoder = tf.keras.Sequential(
        [
            layers.Input((LATENT_DIM,)),
            layers.Dense(7 * 7 * 32, activation="relu"),
            layers.Reshape((7, 7, 32)),
            layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(1, 3, padding="same"),
        ]
    )
    return encoder, decoder


def log_normal(z, mean, log_variance):
    inside = (z - mean) ** 2 * tf.exp(-log_variance) + log_variance + np.log(2 * np.pi)
    return tf.reduce_sum(-0.5 * inside, axis=1)


def elbo(encoder, decoder, x, eps):
    """log p(x | z) + log p(z) − log q(z | x) of each image, with one z."""
    mean, log_variance = tf.split(encoder(x), 2, axis=1)
    z = eps * tf.exp(log_variance * 0.5) + mean
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(logits=decoder(z), labels=x)
    log_likelihood = -tf.reduce_sum(entropy, axis=[1, 2, 3])
    return log_likelihood + log_normal(z, 0.0, 0.0) - log_normal(z, mean, log_variance)


def training_step(encoder, decoder):
    """A step of Adam as a compiled function of a batch and its noise (rows, latents): the loss."""
    optimizer = tf.keras.optimizers.Adam(1e-4)
    variables = encoder.trainable_variables + decoder.trainable_variables

    @tf.function
    def train(x, eps=None):
        if eps is None:
            eps = tf.random.normal((len(x), LATENT_DIM))
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(elbo(encoder, decoder, x, eps))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return train


def main(path):
    images = load(path)
    train = training_step(*networks())
    data = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).batch(BATCH)
    for epoch in range(EPOCHS):
        start = time.perf_counter()
        for batch in data:
            train(batch)
        print(f"epoch {epoch + 1}: {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
