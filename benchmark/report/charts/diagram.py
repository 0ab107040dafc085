"""The diagram of critical differences."""

import io
import re

from markupsafe import Markup

from benchmark.tables import Ranking


def diagram(ranking: Ranking, *, key: str) -> Markup | None:
    """Return the diagram of critical differences (Demšar, 2006) as SVG, or None if there is no Friedman test.

    The SVG draws in the text colour of the page.

    Args:
        ranking: Ranking of the methods by one metric.
        key: Text that makes the ids of the SVG unique within the page.
    """
    p_values = ranking.p_values
    if p_values is None:
        return None
    from matplotlib import rc_context  # slow imports
    from matplotlib.figure import Figure
    from scikit_posthocs import critical_difference_diagram

    names = {
        title: title.replace("$", r"\$") for title in ranking.ranks
    }  # matplotlib reads text between two $ as mathematics
    ranks = {names[title]: rank for title, rank in ranking.ranks.items()}
    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": key, "svg.fonttype": "path", "font.size": 9, "text.usetex": False}):
        figure = Figure(figsize=(6.4, 1.0 + 0.16 * len(ranks)))
        critical_difference_diagram(
            ranks,
            p_values.rename(index=names, columns=names),
            ax=figure.subplots(),
            label_fmt_left="{label} ({rank:.2f})  ",  # blanks between a label and its line
            label_fmt_right="  ({rank:.2f}) {label}",
            color_palette=dict.fromkeys(ranks, "#000000"),
        )
        figure.savefig(drawn, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg ") :].replace("<svg ", '<svg class="diagram" ', 1).replace("#000000", "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    # Letters are drawn as paths, so the markup contains no title of a method.
    return Markup(re.sub(r'<g id="[^"]*"', "<g", svg))
