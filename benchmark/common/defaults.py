"""Default values of options. The command line shows them in its help, so nothing heavy is imported here."""

from pathlib import Path
from typing import Literal

RESULTS = Path("results", "local")
"""Folder of results, below the current one."""
BATCH_SIZE = 8
"""Images per forward pass."""
WINDOW_CHUNK = 512
"""Windows that go through the vision tower at a time on a CPU; fewer are slower in bfloat16."""
WINDOW_CHUNK_GPU = 4096
"""The same on a GPU, which fewer windows do not fill."""
WORKERS = 2
"""Processes that read images, where it is not known on how many cores."""
READERS = 8
"""Processes that read images for one that computes, at most."""
TASK_IMAGES = 500
"""Test images of the classes that a task bundles; a class is never divided."""
CACHE_LIMIT = 100.0
"""GB of training features; GenCLIP's four layers of the 1725 images of MVTec AD at 518 px take 29."""
PUBLISHED_TOLERANCE = 1.0
"""Points by which a result may differ from a published number."""
RULE = "anomalyclip"
"""Rule of what methods train on."""
ANY_CLASS = "object"
"""What images show of which nothing is said, in prompts."""

OnError = Literal["fail", "skip"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
ExecutorName = Literal["local", "ray", "slurm"]

LEAST = {"batch_size": 1, "window_chunk": 1, "workers": 0, "processes": 1, "cache_limit": 0, "cell_timeout": 0.1}
"""The least values of numbers that say how cells and trainings are computed."""
