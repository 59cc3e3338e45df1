"""Configures the documentation site: Sphinx with Markdown pages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generated_pages import write_pages  # noqa: E402  (found by the path above)

project = "Bitwright"
html_title = "Bitwright"
extensions = ["myst_parser"]
html_theme = "furo"
html_show_copyright = False
html_show_sourcelink = False
exclude_patterns = ["examples/**"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]    # … stands for arguments left out


def setup(app):
    """Write the pages that come from code before Sphinx looks for pages."""
    write_pages(Path(__file__).parent / "reference" / "generated")
