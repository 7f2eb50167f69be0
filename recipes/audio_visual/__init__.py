"""Audio-visual fusion: the segments of Audio Branch and of a video in one classifier. README.md tells how to use it."""
