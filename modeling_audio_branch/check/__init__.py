"""Checks of anybody's model (does not ship with a checkpoint)."""
