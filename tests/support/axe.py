"""axe-core in a page of the browser. The package brings the script; playwright, for which it is made, is not used."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from selenium import webdriver

SOURCE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
# All rules that are in use, those that axe leaves out by itself (target sizes) and experimental ones as well. Level AAA
# is not aimed at. Styles are not loaded anew by `preload`: a page from the disk may not read them.
RUN = """
const [only, done] = arguments;
const rules = axe.getRules().filter((each) => !each.tags.some((tag) => ["wcag2aaa", "deprecated"].includes(tag)));
const names = rules.map((each) => each.ruleId).filter((each) => !only.length || only.includes(each));
const options = { runOnly: { type: "rule", values: names }, resultTypes: ["violations"], preload: false };
const why = (node) => [...node.any, ...node.all, ...node.none].map((check) => check.message).join("; ");
axe.run(document, options).then(
  ({ violations, passes }) => done([passes.length, violations.flatMap((each) =>
    each.nodes.map((node) => [each.id, node.target.join(" "), why(node) || each.help]))]),
  (error) => done([0, [["axe", "", String(error)]]]),
);
"""


@dataclass(frozen=True)
class Violation:
    """An element that a rule does not accept."""

    rule: str
    selector: str
    why: str


def violations(driver: webdriver.Chrome, *, only: Sequence[str] = ()) -> list[Violation]:
    """Return what axe finds in the page as it is now, by the rules that are named or by all.

    Scripts of the driver are not under the page's Content-Security-Policy.
    """
    if not driver.execute_script("return 'axe' in window"):
        driver.execute_script(SOURCE)
    passed, found = driver.execute_async_script(RUN, list(only))
    assert passed or found, "axe looked at nothing"
    return [Violation(*each) for each in found]
