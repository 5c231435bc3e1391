"""Nouns: clips in, arrays out.

Import the module that holds what you need, for example ``from features.store.reader import FeatureStore``. Nothing is
re-exported here, so that a stage which splits waveforms neither loads nor depends on what streams features.
"""

from time import time_ns

LOADED_NS = time_ns()
"""When this process began to load modules from here; one that was edited later may run as it was before."""
