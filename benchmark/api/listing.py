"""Which methods and datasets there are."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api.requests import data_folder

if TYPE_CHECKING:
    import pandas as pd


def list_methods() -> "pd.DataFrame":
    """Return the methods that `run` and `load_method` know, a row each; the index has the names by which they go."""
    import pandas as pd

    from benchmark.contract import Learner
    from benchmark.registry import all_methods

    known = all_methods()
    rows = [(each.title, issubclass(each, Learner), each.version, each.paper) for each in known.values()]
    return pd.DataFrame(rows, pd.Index(list(known), name="method"), ["title", "learns", "version", "paper"])


def list_datasets(data: str | Path | None = None) -> "pd.DataFrame":
    """Return the datasets that `run` knows, a row each; the index has the names by which they go.

    Args:
        data: Folder that holds datasets, of which `found` says where they lie; None for `BENCH_DATA`.
    """
    import pandas as pd

    from benchmark.data import find_directories, load_cards

    folder = data_folder(data)
    rows = {
        name: {
            "title": card.title,
            "domain": card.domain,
            "classes": len(card.classes),
            "levels": ", ".join(card.levels),
            "beyond": card.beyond,
            "found": ", ".join(map(str, find_directories(card, folder, None))),
            "licence": card.licence,
            "home": card.home,
        }
        for name, card in load_cards().items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("dataset")
