// Tables: sorting by a click or Enter on a header, one table at a time, headings of groups over their columns.
"use strict";

(() => {
  const { $, $$, whenChanged, on } = Report;

  const collator = new Intl.Collator("en", { numeric: true });

  function compareCells(a, b, direction) {
    const [x, y] = [a, b].map((cell) => cell.dataset.sort);
    if (x === undefined) return direction * collator.compare(a.textContent.trim(), b.textContent.trim());
    if (x === "" || y === "") return (x === "") - (y === ""); // undefined comes last either way
    return direction * (Number(x) - Number(y));
  }

  function sortBody(body, column, direction) {
    const rows = [...body.rows].filter((row) => row.cells.length > column);
    rows.sort((a, b) => compareCells(a.cells[column], b.cells[column], direction));
    body.append(...rows);
  }

  function startSorting() {
    for (const table of $$("table.sortable")) {
      for (const button of $$("button.sort", table)) {
        button.addEventListener("click", () => {
          const header = button.closest("th");
          const before = header.getAttribute("aria-sort");
          const first = header.classList.contains("num") && header.dataset.first !== "ascending" ? "descending" : "ascending";
          const other = first === "ascending" ? "descending" : "ascending";
          const order = before === first ? other : first;
          for (const each of $$("thead th[aria-sort]", table)) each.setAttribute("aria-sort", "none");
          header.setAttribute("aria-sort", order);
          for (const body of table.tBodies) sortBody(body, header.cellIndex, order === "ascending" ? 1 : -1);
        });
      }
    }
  }

  function startTabs() {
    const form = $("#tabs");
    if (!form) return;
    const show = () => { for (const tab of $$(".tab")) tab.hidden = tab.dataset.metric !== form.elements.metric.value; };
    whenChanged(form, show);
    show();
  }

  // The heading of a group is over those of its columns that are shown.
  function spanGroups() {
    for (const head of $$("thead")) {
      head.style.setProperty("--first", `${head.rows[0].cells[0].offsetWidth + 8}px`); // it stays beside the first column
      for (const group of $$("th.group", head)) {
        const same = $$("th[data-method]", head).filter((each) => each.dataset.group === group.dataset.group);
        const count = same.filter((each) => !each.hidden && !each.classList.contains("off")).length;
        group.hidden = count === 0;
        group.colSpan = Math.max(count, 1);
      }
    }
  }
  startSorting();
  startTabs();
  on("methods", spanGroups);
  on("columns", spanGroups);
  spanGroups();
})();
