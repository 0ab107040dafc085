"""The report: one self-contained static site of all that a results folder holds."""

from benchmark.report.site import ReportError, Site, write_site

__all__ = ["ReportError", "Site", "write_site"]
