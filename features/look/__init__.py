"""Looking into stores: summaries, comparison, pictures, sound, xarray."""
