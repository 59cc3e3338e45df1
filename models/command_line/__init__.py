"""What every command line shares: options, files, JSON, and printable text."""
