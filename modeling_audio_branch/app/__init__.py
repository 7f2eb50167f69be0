"""The web page of `audio-branch app` and of a Space; page.py has the page itself, and needs Gradio.

The other files are plain functions from audio files to pictures, sound files and sentences.
"""
