"""Conversion of other checkpoints to Audio Branch. Not part of a checkpoint's code."""
