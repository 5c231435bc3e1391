"""The command ``features``: looking into cached features, checking them, knowing what will be computed."""
