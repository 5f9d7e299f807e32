"""Reads input files as numbered rows. Imports files; knows no judge and no output."""
