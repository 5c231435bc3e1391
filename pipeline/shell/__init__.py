"""What every command shares: settings, options, progress, and errors as sentences."""
