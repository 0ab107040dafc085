// A page on paper: in light colours, and no table wider than the sheet. `paper` on the root element says so to styles.
"use strict";

(() => {
  const { $$ } = Report;
  const root = document.documentElement;

  // A table is as wide as its longest words and numbers need, times the size of its text. The style sheet turns the
  // share of the sheet's width, which no script knows, into that size.
  function fitTables() {
    for (const table of $$("main table")) {
      if (!table.getClientRects().length) continue;
      table.classList.add("measured");
      const ems = table.offsetWidth / parseFloat(getComputedStyle(table).fontSize);
      table.classList.remove("measured");
      table.style.setProperty("--ems", ems.toFixed(2));
    }
  }

  addEventListener("beforeprint", () => {
    root.classList.add("paper");
    fitTables();
  });
  addEventListener("afterprint", () => root.classList.remove("paper"));
})();
