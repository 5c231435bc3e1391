"""Networks: their shape, how they are trained, and how well they do. Spectrograms in, words out.

Import the module that holds what you need, for example ``from models.training import TrainSpec``. Nothing is
re-exported here, so that a stage depends on exactly what it uses.
"""
