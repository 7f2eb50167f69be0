"""Takes the screenshots of docs/serving.md: PYTHONPATH=tests .venv/bin/python tests/ui/screenshots.py"""

import io
from pathlib import Path

from PIL import Image

from helpers.chromium import chromium
from helpers.page_driver import PHONE, compare, find, open_page, picture, show_segments
from helpers.servers import web_app

FOLDER = Path(__file__).parents[2] / "docs"
COLORS = 96  # of a picture, to keep it below 150 kB


def main():
    with web_app() as (_, address), chromium() as browser:
        for name, act, options in (
            ("app_segments", show_segments, {}),
            ("app_compare", compare, {}),
            ("app_find", find, {"dark": True}),
            ("app_phone", show_segments, PHONE),
        ):
            page = open_page(browser, address, **options)
            act(page)
            picture(page)
            page.wait_for_timeout(1500)  # players draw their waveforms
            picture_of_page = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture_of_page.quantize(COLORS).save(FOLDER / f"{name}.png", optimize=True)
            print(f"docs/{name}.png: {(FOLDER / f'{name}.png').stat().st_size / 1000:.0f} kB")
            page.context.close()


if __name__ == "__main__":
    main()
