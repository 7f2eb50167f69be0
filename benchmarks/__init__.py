"""Benchmarks: speed, memory and exactness, compared with other encoders. Run as `python -m benchmarks.encoder`."""
