"""Inspection of stores: summaries, comparison, pictures, sound, and xarray datasets."""
