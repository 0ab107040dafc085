"""The metrics: their keys and their version."""

METRICS_VERSION: int = 1  # raised whenever a change can move a number; recorded with every result
IMAGE_METRICS = ("image_auroc", "image_ap", "image_f1max")
PIXEL_METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_aupro", "pixel_aupro_200")
