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
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.language_info = {"name": "python"}  # without the version
    return notebook


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        nbformat.write(executed(Path(folder)), NOTEBOOK)
