"""Tables of the results: in Markdown for the card, on the console for a person."""

import torch
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from .metrics import bootstrap_ci
from .results import NumberWordsResult, Percent, PhraseResults, Recall, RetrievalResult, RobustnessResult

LANGUAGES = {"it": "Italian", "fr": "French", "es": "Spanish"}


def format_percent(percent: Percent) -> str:
    """The value, and its interval if it has one: `71.2 (67.7 to 74.9)`."""
    return f"{percent.value:.1f}" + ("" if percent.low is None else f" ({percent.low:.1f} to {percent.high:.1f})")


def format_recall(recall: Recall | None) -> str:
    if recall is None:
        return ""
    return f"{format_percent(recall.at_1)} / {recall.at_5.value:.1f}, N = {recall.num_phrases}"


def pooled(results: list[NumberWordsResult], method: str, **of) -> list[float]:
    """All recordings' results by a method, of one `language=` or one `speaker=` if given."""
    chosen = [each for each in results if each.method == method]
    chosen = [each for each in chosen if all(getattr(each, name) == value for name, value in of.items())]
    return [right for each in chosen for right in each.right]


def number_words_percent(results: list[NumberWordsResult], method: str) -> Percent:
    return bootstrap_ci(torch.tensor(pooled(results, method)))


def retrieval_table(results: list[RetrievalResult]) -> str:
    """Markdown: a row for each language and method."""
    lines = ["| language | method | all phrases | short phrases |", "| --- | --- | --- | --- |"]
    for result in results:
        cells = [LANGUAGES[result.language], result.method, format_recall(result.all), format_recall(result.short)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number_words_table(results: list[NumberWordsResult]) -> str:
    """Markdown: a row for each method, a column for each language."""
    languages = sorted({result.language for result in results})
    lines = [f"| method | {' | '.join(languages)} | all |", "| --- |" + " --- |" * (len(languages) + 1)]
    for method in dict.fromkeys(result.method for result in results):
        by_language = [pooled(results, method, language=language) for language in languages]
        cells = [f"{100 * sum(right) / len(right):.1f}" for right in by_language]
        lines.append(f"| {' | '.join([method, *cells, format_percent(number_words_percent(results, method))])} |")
    return "\n".join(lines)


def robustness_table(results: list[RobustnessResult], method: str) -> str:
    """Markdown: R@1 of a method, a row for each condition, a column for each language."""
    lines = [f"| condition | {' | '.join(LANGUAGES.values())} |", "| --- |" + " --- |" * len(LANGUAGES)]
    cells = {(each.condition, each.language): each.at_1 for each in results if each.method == method}
    for condition in dict.fromkeys(condition for condition, _ in cells):
        row = [format_percent(cells[condition, language]) for language in LANGUAGES]
        lines.append(f"| {' | '.join([condition, *row])} |")
    return "\n".join(lines)


def print_results(results: PhraseResults) -> None:
    """All tables on the console."""
    table = Table(title="Same phrase, other speaker: R@1 / R@5 in percent (95 % interval of R@1)")
    for column in ("language", "method", "all phrases", "short phrases"):
        table.add_column(column)
    for row in results.retrieval:
        table.add_row(row.language, row.method, format_recall(row.all), format_recall(row.short))
    console = Console(width=max(120, Console().width))
    console.print(table)
    words = results.number_words
    methods = list(dict.fromkeys(row.method for row in words))
    table = Table("speaker", *methods, title="Number words: percent right (chance 3.6)")
    for speaker in dict.fromkeys(row.speaker for row in words):
        of_speaker = [pooled(words, method, speaker=speaker) for method in methods]
        table.add_row(speaker, *(f"{100 * sum(right) / len(right):.1f}" for right in of_speaker))
    table.add_row("all", *(format_percent(number_words_percent(words, method)) for method in methods), style="bold")
    console.print(table)
    for method in dict.fromkeys(row.method for row in results.robustness):
        console.print(
            f"R@1 of {method} with changed clips of one speaker:",
            Markdown(robustness_table(results.robustness, method)),
        )
