"""Batches for training and scoring, and their order."""
