"""Draws a report as one HTML page: tables, charts and a block diagram."""
