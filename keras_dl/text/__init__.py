"""Architectures for text; each file in `ARCHITECTURES` registers its own."""

ARCHITECTURES = ()
