"""The report page as one HTML file that opens offline: markup, charts, style and script. Computes no statistic."""

from scorer.report.html.document import document

__all__ = ["document"]
