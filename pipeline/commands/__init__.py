"""The command ``features``, one module a subcommand."""
