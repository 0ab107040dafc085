"""The results that the checkout holds: those that the code gives on the mini suite."""

from pathlib import Path

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
REFERENCE_RECORDS = sorted((REFERENCE / "records").glob("*.json"))
