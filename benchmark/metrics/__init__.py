"""Metrics: curves, image and pixel metrics, results per image, bootstrap draws."""
