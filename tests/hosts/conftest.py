"""Puts this folder on the import path, for network.py and fleet.py."""
