"""Verbs: one module a stage, run as ``python -m pipeline.<stage>``, in the order of dvc.yaml."""

import os

# Read by TensorFlow when it is first loaded, which is after this: what it logs about devices it does not find is noise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
