"""The command ``models``: using a trained network."""
