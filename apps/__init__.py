"""Prebuilt applications; `python -m apps` lists them."""
