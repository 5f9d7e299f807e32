"""Sends one request: reservation, HTTP, retry, hedging, settlement. Imports limits; never the engine."""
