"""The files of the site by path: pages from templates, and the scripts and styles that they load."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmark.common import counted
from benchmark.records import Record
from benchmark.report.report_data import ReportData
from benchmark.tables import NOT_APART, ONE_TRAINING, groups_of, make_outputs

NAVIGATION = (
    ("index.html", "Overview"),
    ("matrix.html", "Matrix"),
    ("failures.html", "Failures"),
    ("methods.html", "Methods"),
    ("ablations.html", "Ablations"),
    ("cost.html", "Cost"),
    ("published.html", "Published"),
    ("figures.html", "Figures"),
    ("records.html", "Records"),
    ("about.html", "About"),
)
SECTIONS = {"datasets": "index.html", "methods": "methods.html"}
"""The page of the navigation that the pages of a folder belong to."""
TABLES = "tables.zip"
"""The archive of the tables and of `results.csv`. Plain, they would take some megabytes of the same words."""


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("benchmark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["counted"] = counted
    made.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":"), "ensure_ascii": False}
    made.filters["code"] = with_code
    made.globals |= {"NOT_APART": NOT_APART, "ONE_TRAINING": ONE_TRAINING}
    return made


def with_code(text: str) -> Markup:
    """Return a text with what stands between backticks as code; everything in it is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@dataclass
class SiteFiles:
    """The files of the site by path from its top, and the environment that renders its pages."""

    common: Mapping[str, Any]
    """The context that every page gets; see `common_context`."""
    content: dict[str, bytes] = field(default_factory=dict)
    templates: Environment = field(default_factory=_environment)

    def page(self, path: str, template: str, **context: Any) -> None:
        """Add a page.

        Args:
            path: Path of the page from the top of the site.
            template: File name of its template in `templates/pages`.
            context: What the template shows.
        """
        root = "../" * path.count("/")
        section = SECTIONS.get(path.partition("/")[0])
        made = self.templates.get_template(f"pages/{template}")
        text = made.render(root=root, here=path, section=section, **self.common, **context)
        self.content[path] = text.encode()

    def records(self, report: ReportData) -> None:
        """Add a JSON file per record, without its draws."""
        for record in report.records:
            self.content[report.file_of(record)] = _as_json(record)

    def tables(self, report: ReportData) -> None:
        """Add what `bench tables` writes, as one archive: the tables, and the file with every number."""
        self.content[TABLES] = zipped(make_outputs(report.records).files)

    def static(self) -> None:
        """Add the scripts and the style sheets, all of them plain files, and the chart library."""
        for folder in ("js", "css"):
            for file in sorted((files("benchmark.report") / "static" / folder).iterdir(), key=lambda file: file.name):
                self.content[f"static/{folder}/{file.name}"] = file.read_bytes()
        self.content["static/plotly.min.js"] = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def common_context(report: ReportData) -> dict[str, Any]:
    """Return the context that every page gets."""
    counts = {
        "records": len(report.records),
        "methods": len(report.titles),
        "datasets": len(report.datasets),
        "images": sum(each.normal + each.anomalous for dataset in report.datasets for each in dataset.classes),
        "failed": len(report.failed),
    }
    return {
        "report": report,
        "archive": TABLES,
        "nav": NAVIGATION,
        "banner": report.banner,
        "version": version("zsad-bench"),
        "counts": counts,
        "groups": groups_of(report.columns),
    }


def zipped(files_by_path: Mapping[str, str]) -> bytes:
    """Return a ZIP archive of some files; the same files give the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in sorted(files_by_path.items()):
            archive.writestr(zipfile.ZipInfo(path), text, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _as_json(record: Record) -> bytes:
    """Return a record without the packed draws of its intervals, which are for programs alone and take much room."""
    text = json.dumps(
        record.model_dump(mode="json", exclude={"draws"}), separators=(",", ":"), sort_keys=True, ensure_ascii=False
    )
    return (text + "\n").encode()
