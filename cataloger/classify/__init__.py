"""Turning pixels into predictions."""
