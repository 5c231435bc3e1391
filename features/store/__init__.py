"""Stores on disk: layout, shards, checksums, reading, writing, the shard cache, verifying and repairing."""
