"""Audio Branch in MTEB: a wrapper, its benchmark of audio, and the task "same words, another speaker"."""
