"""Commands, a package each with one module a subcommand; and what the import commands share."""
