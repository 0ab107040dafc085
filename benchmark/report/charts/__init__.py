"""The charts of the report: what they show, as JSON for the chart library or as SVG."""
