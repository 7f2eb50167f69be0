"""The errors of an index: one sentence each."""


class CorpusError(ValueError):
    """What is wrong with an index, or with what was asked of it."""
