"""The pictures of the report: reduced photos, masks and anomaly maps."""
