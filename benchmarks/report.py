"""Results as a table on the terminal and as JSON, with the hardware and the versions."""

import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.table import Table

# Columns of rows that have a `speed` (see measuring.Speed).
SPEED_COLUMNS = {
    "ours (ms)": lambda row: f"{1000 * row.speed.ours_s:.1f}",
    "peer (ms)": lambda row: f"{1000 * row.speed.peer_s:.1f}",
    "times as fast (quartiles)": lambda row: (
        f"{row.speed.ratio:.2f} ({row.speed.ratio_low:.1f} to {row.speed.ratio_high:.1f})"
    ),
}


def machine() -> dict[str, str | int]:
    """What the results depend on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def report(title: str, rows: list, columns: dict, output: Path, **settings) -> None:
    """Prints a table of `columns` (heading: function of a row) and writes all numbers as JSON.

    Args:
        title: Title of the table.
        rows: Dataclass instances.
        columns: The text of a cell, as a function of a row, by the heading of the column.
        output: The JSON file to write.
        **settings: Settings of the benchmark, for the JSON file.
    """
    table = Table(title=title)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(column(row) for column in columns.values()))
    Console(width=max(150, Console().width)).print(table)
    output.parent.mkdir(parents=True, exist_ok=True)
    results = {"title": title, **machine(), **settings, "results": [asdict(row) for row in rows]}
    output.write_text(json.dumps(results, indent=2))
    print(f"Written to {output}")
