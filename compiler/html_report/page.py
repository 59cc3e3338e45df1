"""Writes ``report.html``: the report as one page that needs no network.

Everything from the checkpoint is escaped, and the page's content security policy lets no script
run but its own. The same report gives the same bytes.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from bitwright.compiler.html_report import sections
from bitwright.compiler.html_report.block_diagram import diagram
from bitwright.compiler.html_report.markup import Html, element, join
from bitwright.compiler.html_report.roofline import roofline
from bitwright.hw.machine.description import Machine

__all__ = ["report_page"]


def _about(report: Mapping[str, Any], machine: Machine) -> Html:
    lines = [sections.machine_line(report, machine)]
    if programs := report["totals"].get("programs"):
        lines.append(sections.programs_line(programs, report["tokens"]))
    if model := report.get("model"):
        after = f" after {model['context']:,}" if model["context"] else ""
        lines.append(f"{model['family']} of {model['parameters']:,} parameters, from its "
                     f"configuration alone; tokens: {report['tokens']:,}{after}")
        lines += [f"assumed: {text}" for text in model["assumptions"]]
    return join(element("p", line) for line in lines)


def report_page(report: Mapping[str, Any], machine: Machine, subject: str) -> str:
    """The page of a report, as :func:`report` gives it; ``subject`` names the
    model."""
    here = files("bitwright.compiler.html_report")
    script = (here / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rows, interval = report["layers"], report["memory"]["interval"]
    return Template((here / "page.html").read_text(encoding="utf-8")).substitute(
        digest=digest, script=script, style=(here / "page.css").read_text(encoding="utf-8"),
        subject=element("span", subject), about=_about(report, machine),
        summary=sections.summary(report), cycles=sections.cycles(report),
        engines=sections.engines(report), roofline=roofline(rows, machine, interval),
        traffic=sections.traffic(report), datatypes=sections.datatypes(report),
        hosted=sections.hosted(report),
        diagram=diagram(machine, report["memory"], report["totals"]),
        layers=sections.layers(report))
