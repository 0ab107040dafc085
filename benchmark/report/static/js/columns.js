// Columns of methods: which are shown, in which order, and which stay at the left. The header says it, the cells follow.
//
// A column is shown if its header is neither `hidden` (by a search) nor `off` (left out by the reader). Rows are laid out
// when they are seen: of forty methods on a hundred datasets and nine metrics, eight metrics wait.
"use strict";

(() => {
  const { $, $$, address, on } = Report;

  // The cells of a row, or the rows of a body, as the page was made, whatever their order is now.
  const made = new WeakMap();
  function asMade(parent) {
    if (!made.has(parent)) made.set(parent, [...(parent.cells || parent.rows)]);
    return made.get(parent);
  }

  const headsOf = (table) => asMade(table.tHead.rows[table.tHead.rows.length - 1]);

  // What a column is called: by a method, or by its heading with the one that stands over it and others.
  function nameOf(head) {
    const table = head.closest("table");
    const name = ($(".name", head) || head).textContent.trim();
    if ($("thead th[data-method]", table) || table.tHead.rows.length < 2) return name;
    let left = asMade(head.parentElement).indexOf(head);
    const over = [...table.tHead.rows[0].cells].find((cell) => { left -= cell.colSpan; return left < 0; });
    return `${over ? over.textContent : ""} ${name}`.trim();
  }

  const isShown = (head) => !head.hidden && !head.classList.contains("off");
  const isSeen = (element) => !element.closest("[hidden]");
  const tables = () => $$("table").filter((table) => $("thead th[data-method]", table));

  // The average rank of each column over the rows that are seen. Equal values share a rank, undefined ones have none.
  // The highest value is the best, but for a table that shows ranks and says so by `data-best="lowest"`.
  function averageRanks(table, places) {
    const sign = table.dataset.best === "lowest" ? -1 : 1;
    const sums = new Map(places.map((place) => [place, { sum: 0, rows: 0 }]));
    for (const row of [...table.tBodies].flatMap((body) => (isSeen(body) ? [...body.rows] : []))) {
      const cells = asMade(row);
      if (row.hidden || cells.length <= Math.max(...places)) continue;
      const known = places.filter((place) => cells[place].dataset.sort);
      const values = new Map(known.map((place) => [place, Number(cells[place].dataset.sort)]));
      known.sort((a, b) => sign * (values.get(b) - values.get(a)));
      for (let start = 0, end; start < known.length; start = end) {
        end = start + 1;
        while (end < known.length && values.get(known[end]) === values.get(known[start])) end += 1;
        for (const place of known.slice(start, end)) {
          const found = sums.get(place);
          found.sum += (start + 1 + end) / 2;
          found.rows += 1;
        }
      }
    }
    return new Map([...sums].map(([place, { sum, rows }]) => [place, rows ? sum / rows : Infinity]));
  }

  // The places of the columns in the order in which they are to stand: what is no method keeps its place.
  function wantedOrder(table, heads) {
    const methods = [...heads.keys()].filter((place) => heads[place].dataset.method !== undefined);
    const place = new Map(methods.map((each) => [heads[each].dataset.method, each]));
    const pins = [...new Set(address.all("pin"))].map((title) => place.get(title)).filter((each) => each !== undefined);
    const rest = methods.filter((each) => !pins.includes(each));
    const byRank = address.get("order") === "rank";
    if (byRank) {
      const ranks = averageRanks(table, rest.filter((each) => isShown(heads[each])));
      rest.sort((a, b) => ranks.get(a) - ranks.get(b) || a - b);
    }
    const sorted = [...pins, ...rest];
    const order = [...heads.keys()].map((each) => (heads[each].dataset.method === undefined ? each : sorted.shift()));
    return { order, pins: pins.filter((each) => isShown(heads[each])), byRank };
  }

  const laid = new WeakMap();
  function layRow(row, order, pins, heads, stamp) {
    const cells = asMade(row);
    if (laid.get(row) === stamp || cells.length !== heads.length) return;
    laid.set(row, stamp);
    let next = row.firstElementChild; // only what is out of its place is moved
    for (const place of order) {
      if (cells[place] === next) next = next.nextElementSibling;
      else row.insertBefore(cells[place], next);
    }
    for (const [place, cell] of cells.entries()) {
      if (heads[place].dataset.method === undefined) continue;
      if (cell !== heads[place]) cell.hidden = !isShown(heads[place]);
      const pin = pins.indexOf(place);
      cell.classList.toggle("pinned", pin >= 0);
      cell.style.left = pin >= 0 ? `var(--pin${pin})` : "";
    }
  }

  // Headings of groups stand over those of their columns that are shown and not pinned; in order of rank there are none.
  function layGroups(table, heads, order, pins, byRank) {
    const row = table.tHead.rows[0];
    if (table.tHead.rows.length < 2) return;
    row.hidden = byRank;
    let pinned = $("th.of-pins", row);
    if (!pinned && pins.length) {
      pinned = document.createElement("th");
      pinned.className = "group of-pins pinned";
      pinned.scope = "colgroup";
      pinned.style.left = "var(--pin0)";
      pinned.append(document.createElement("span"));
      pinned.firstChild.textContent = "pinned";
      row.cells[0].after(pinned);
    }
    if (pinned) {
      pinned.hidden = !pins.length;
      pinned.colSpan = Math.max(pins.length, 1);
    }
    const shown = order.map((place) => heads[place]).filter((head) => head.dataset.method !== undefined && isShown(head));
    for (const group of $$("th[data-group]", row)) {
      const count = shown.filter((head, at) => at >= pins.length && head.dataset.group === group.dataset.group).length;
      group.hidden = count === 0;
      group.colSpan = Math.max(count, 1);
    }
    let before = null;
    for (const [at, head] of shown.entries()) {
      const group = at < pins.length ? "" : head.dataset.group;
      head.classList.toggle("starts", !byRank && group !== before);
      before = group;
    }
  }

  function lay(table) {
    const heads = headsOf(table);
    const { order, pins, byRank } = wantedOrder(table, heads);
    const stamp = JSON.stringify([order, pins, heads.map(isShown)]);
    const bodies = [...table.tBodies].filter(isSeen);
    for (const part of bodies) for (const row of part.rows) layRow(row, order, pins, heads, stamp);
    if (table.tFoot) for (const row of table.tFoot.rows) layRow(row, order, pins, heads, stamp);
    layRow(heads[0].parentElement, order, pins, heads, stamp);
    layGroups(table, heads, order, pins, byRank);
    return { table, head: heads[0], pins: pins.map((place) => heads[place]) };
  }

  const ROOM = 104; // of a number with its interval

  // How far from the left pinned columns stay. Those that would leave no room for a number scroll with the others.
  function measure(found) {
    const width = found.table.parentElement.clientWidth;
    let left = found.head.offsetWidth;
    return found.pins.map((pin) => {
      const at = left;
      left += pin.offsetWidth;
      return left <= width - ROOM ? at : null;
    });
  }

  let started = false;
  function layAll() {
    if (!started) return;
    const found = tables().filter(isSeen).map(lay);
    const sides = found.map(measure); // all that is read comes before all that is written
    for (const [index, { table, head }] of found.entries()) {
      let clear = head.offsetWidth;
      for (const [pin, left] of sides[index].entries()) {
        table.style.setProperty(`--pin${pin}`, left === null ? "auto" : `${left}px`);
        if (left !== null) clear = left + found[index].pins[pin].offsetWidth;
      }
      table.style.setProperty("--first", `${clear + 8}px`);
    }
  }

  // A change is told by several scripts: the tables are laid out once, when all have spoken.
  let waiting = false;
  function layLater() {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => {
      waiting = false;
      layAll();
    });
  }

  // The others have started by then, so that tables are laid out once.
  addEventListener("DOMContentLoaded", () => {
    started = true;
    layAll();
  });
  addEventListener("resize", layAll);
  address.onChange(layLater);
  on("methods", layLater);
  on("columns", layLater);

  Report.columns = { asMade, headsOf, nameOf, isShown };
})();
