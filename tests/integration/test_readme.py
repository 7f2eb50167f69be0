"""The README's first example runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readmes_first_example_gives_the_shapes_that_it_prints(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    names = {}
    shapes = 0
    for line in code.splitlines():
        if "# torch.Size" in line:
            expression, comment = line.split("#", 1)
            assert comment.strip().startswith(str(eval(expression, names)))
            shapes += 1
        else:
            exec(line, names)
    assert shapes == 3
