"""Trains and measures checkpoints/phrases: segment embeddings that find the same phrase said by another speaker."""
