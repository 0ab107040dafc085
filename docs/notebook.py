"""Executes `docs/notebook.ipynb`, whose outputs the documentation shows.

Run `python docs/notebook.py` after a change of the notebook or of what it shows. Lines of progress and times are left
out, so that the outputs change only where numbers or texts do.
"""

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")
NO_BARS = "--InteractiveShellApp.code_to_run=import sys; sys.modules['ipywidgets'] = None"
"""An argument of the kernel: progress is shown as lines, which are left out, also where widgets are installed."""


def executed(folder: Path) -> nbformat.NotebookNode:
    """Return the notebook after its cells were run in a folder, in a kernel of their own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    places = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, resources=places, extra_arguments=[NO_BARS]).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}  # without the version
    return notebook


def _is_progress(output: nbformat.NotebookNode) -> bool:
    """Return whether an output is a line of progress, or a bar, of which rich leaves an empty text where it was."""
    data = output.get("data", {})
    return (
        output.get("name") == "stderr"
        or "application/vnd.jupyter.widget-view+json" in data
        or (output.output_type == "display_data" and not data.get("text/plain", "shown").strip())
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), NOTEBOOK)
