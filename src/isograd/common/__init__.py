"""What every room may use: the user-facing error, atomic files, named seeds. Imports nothing of isograd."""
