"""Training: the loop, its steps, checkpoints, devices and memory."""
