"""The how-to pages show the code of the plug-ins that the other tests load."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGES = {"add-a-family": ("toy_family.py", 3),
         "add-a-checkpoint-layout": ("toy_layout.py toy_container.py", 4),
         "add-a-datatype": ("toy_datatype.py", 1), "add-a-backend": ("toy_backend.py", 2)}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_the_code_of_its_file(page):
    files, count = PAGES[page]
    code = "".join((HERE / file).read_text() for file in files.split())
    text = (HERE.parents[2] / f"docs/how-to/{page}.md").read_text()
    shown = re.findall(r"^```py\n(.*?)^```$", text, re.M | re.S)
    assert len(shown) == count and all(block in code for block in shown)
