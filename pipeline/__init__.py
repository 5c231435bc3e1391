"""Verbs: one module a stage, run as ``python -m pipeline.<stage>``, in the order of dvc.yaml."""

import os

# TensorFlow and Keras read these when they are first loaded, which is after this.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow logs about devices it does not find is noise

# The networks are written for TensorFlow, float32 and channels last. A keras.json or a variable that is meant for
# another project must not decide otherwise, so Keras looks for its settings where there can be none.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["KERAS_HOME"] = f"{os.devnull}/keras"
for _name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "TF_USE_LEGACY_KERAS"):
    os.environ.pop(_name, None)
