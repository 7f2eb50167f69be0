"""What can't be exported."""


class ExportError(ValueError):
    """One sentence: what was asked, and what to do."""
