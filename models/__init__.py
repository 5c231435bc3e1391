"""Networks: their layers, their training and their evaluation. Spectrograms in, words out.

Import the module that holds what you need, for example ``from models.settings import TrainSpec``. Nothing is
re-exported here, so that a stage depends on exactly what it uses.
"""
