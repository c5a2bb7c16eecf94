"""The backends of Keras that this package runs on; imported before any layer is made."""

import keras

BACKENDS = ("tensorflow", "jax")

if keras.backend.backend() not in BACKENDS:
    raise ImportError(
        f"mobilebert_tf runs on Keras's TensorFlow backend, its base model on JAX too, not on "
        f"{keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow"
    )
