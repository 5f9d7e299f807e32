"""Puts this folder on the import path, for together.py."""
