"""Readers of the users' own files, and the built-in samples."""
