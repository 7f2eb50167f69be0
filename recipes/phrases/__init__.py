"""Trains and measures the checkpoints that ship: segment embeddings that find the same phrase said by another speaker."""
