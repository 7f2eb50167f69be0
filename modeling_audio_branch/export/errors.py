"""What can't be exported."""


class ExportError(ValueError):
    """One sentence: what was asked, and what to do."""


class Int8Error(ExportError):
    """int8 changes a model too much, or there is nothing to measure it with."""
