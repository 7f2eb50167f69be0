"""Trains and measures the checkpoints: segment embeddings that find the same phrase said by another speaker."""
