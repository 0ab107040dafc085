// Tables: sorting by a click or Enter on a header, and one table at a time. Both stand in the address.
//
// `Report.tables.sortAgain(table)` after its numbers changed; `Report.tables.own(table, keys)` gives it an order of its own.
"use strict";

(() => {
  const { $, $$, whenChanged, address, on, tell, columns } = Report;
  const { asMade, headsOf, nameOf, isShown } = columns;

  const collator = new Intl.Collator("en", { numeric: true });
  const DIRECTIONS = { ascending: "asc", descending: "desc" };

  function compareCells(a, b, direction) {
    const [x, y] = [a, b].map((cell) => cell.dataset.sort);
    if (x === undefined && y === undefined) return direction * collator.compare(a.textContent.trim(), b.textContent.trim());
    if (!x || !y) return !x - !y; // undefined comes last either way
    return direction * (Number(x) - Number(y));
  }

  // Tables with the same key are sorted alike: those of the metrics of a dataset.
  const keyOf = (table) => table.dataset.table || table.id || `table-${$$("table.sortable").indexOf(table) + 1}`;
  const titleOf = (head) => head.dataset.column ?? head.dataset.method ?? nameOf(head);

  // The address has `sort=TABLE:COLUMN:asc` or `…:desc` for each table that is not in its own order.
  function chosenOrders() {
    const found = new Map();
    for (const text of address.all("sort")) {
      const [, key, title, direction] = /^([^:]*):(.*):(asc|desc)$/s.exec(text) || [];
      if (direction) found.set(key, { title, direction: direction === "asc" ? "ascending" : "descending" });
    }
    return found;
  }

  // The order that a table has of its own: as the page was made, or by `[place of a column, direction]`, the first first.
  const owns = new WeakMap();
  const made = new WeakMap(); // the direction that a header had when the page was made
  const ownDirection = (head) => {
    if (!made.has(head)) made.set(head, head.getAttribute("aria-sort"));
    const keys = owns.get(head.closest("table"));
    if (!keys) return made.get(head);
    return asMade(head.parentElement)[keys[0][0]] === head ? keys[0][1] : "none";
  };

  // A column that is not shown sorts nothing.
  const columnOf = (heads, wanted) => (wanted
    ? heads.findIndex((head) => head.hasAttribute("aria-sort") && isShown(head) && titleOf(head) === wanted.title) : -1);

  function sortTable(table, column, direction) {
    for (const [place, head] of headsOf(table).entries()) {
      if (!head.hasAttribute("aria-sort")) continue;
      const before = ownDirection(head);
      head.setAttribute("aria-sort", column < 0 ? before : place === column ? direction : "none");
    }
    const keys = column < 0 ? owns.get(table) || [] : [[column, direction]];
    const signed = keys.map(([place, each]) => [place, each === "ascending" ? 1 : -1]);
    const least = Math.max(-1, ...keys.map(([place]) => place));
    for (const body of table.tBodies) {
      const rows = asMade(body).filter((row) => asMade(row).length > least);
      const compare = (a, b) => {
        for (const [place, sign] of signed) {
          const found = compareCells(asMade(a)[place], asMade(b)[place], sign);
          if (found) return found;
        }
        return 0;
      };
      body.append(...rows.sort(compare));
    }
  }

  // Only what changed is sorted anew.
  const last = new WeakMap();
  function sortAll() {
    const orders = chosenOrders();
    for (const table of $$("table.sortable")) {
      const wanted = orders.get(keyOf(table));
      const column = columnOf(headsOf(table), wanted);
      const text = column < 0 ? "" : `${column}:${wanted.direction}`;
      if (last.has(table) ? last.get(table) === text : !text) continue;
      last.set(table, text);
      sortTable(table, column, wanted?.direction);
    }
  }
  function sortAgain(table) {
    last.set(table, null);
    sortAll();
  }
  function own(table, keys) {
    owns.set(table, keys);
    sortAgain(table);
  }

  // A header sorts in its first direction, then in the other, then the table has its own order again.
  function nextDirection(head) {
    const numbers = head.classList.contains("num") && head.dataset.first !== "ascending";
    const [first, second] = numbers ? ["descending", "ascending"] : ["ascending", "descending"];
    const now = head.getAttribute("aria-sort");
    if (now === first) return second;
    return now === second && ownDirection(head) === "none" ? "none" : first;
  }

  function startSorting() {
    document.addEventListener("click", (event) => {
      const head = event.target.closest("table.sortable thead th[aria-sort]");
      if (!head || !event.target.closest("button.sort")) return;
      const orders = chosenOrders();
      const key = keyOf(head.closest("table"));
      const direction = nextDirection(head);
      orders.delete(key);
      const isOwn = direction === "none" || (ownDirection(head) === direction);
      if (!isOwn) orders.set(key, { title: titleOf(head), direction });
      address.set({ sort: [...orders].map(([name, each]) => `${name}:${each.title}:${DIRECTIONS[each.direction]}`) });
      sortAll();
      tell("sorted");
    });
    address.onChange(sortAll);
    on("methods", sortAll);
    sortAll();
  }

  // Forms of metrics on a page follow the same choice; a metric that a form lacks gives its first.
  function startTabs() {
    const forms = $$("form.tabs");
    const show = () => {
      const wanted = address.get("metric");
      for (const form of forms) {
        const radios = $$('input[name="metric"]', form);
        const chosen = radios.find((radio) => radio.value === wanted) || radios[0];
        chosen.checked = true;
        for (const tab of $$(".tab", form.parentElement)) tab.hidden = tab.dataset.metric !== chosen.value;
      }
      tell("columns");
    };
    for (const form of forms) {
      whenChanged(form, (event) => {
        const { value } = event.target;
        const chosen = value === $('input[name="metric"]', form).value ? "" : value;
        if (chosen === address.get("metric")) return;
        address.set({ metric: chosen });
        show();
      });
    }
    if (!forms.length) return;
    address.onChange(show);
    show();
  }
  startSorting();
  startTabs();
  Report.tables = { titleOf, sortAgain, own };
})();
