// Published numbers: the summary, the chart, the sources and the printed numbers follow the filters of the list.
"use strict";

(() => {
  const { $, $$, state, address, on } = Report;
  const { chosen } = Report.listing;

  let by = "method";
  // The table that counts by method or dataset, over the kind of numbers that is chosen.
  function showSummary() {
    const kind = $('#filters select[name="kind"]').value;
    for (const each of $$("[data-by]")) each.hidden = each.dataset.by !== by || each.dataset.kind !== kind;
  }

  // The chart shows the rows that fit.
  const source = $('script[data-chart="agreement"]');
  const whole = source && JSON.parse(source.textContent);
  function showPoints() {
    if (!whole) return;
    const fitting = new Set(chosen().fitting.map((row) => row.id));
    const data = whole.data.map((trace) => {
      if (!trace.customdata) return trace; // the band
      const kept = trace.customdata.flatMap((id, at) => (fitting.has(id) ? [at] : []));
      const part = Object.fromEntries(["x", "y", "text", "customdata"].map((name) => [name, kept.map((at) => trace[name][at])]));
      return { ...trace, ...part, showlegend: kept.length > 0 };
    });
    Report.charts.show("agreement", { ...whole, data });
  }

  function startPoints() {
    const place = $("#agreement");
    if (!place) return;
    let heard = false;
    place.addEventListener("pointerover", () => { // by then it is drawn, whenever that was
      if (heard || !place.on) return;
      heard = true;
      place.on("plotly_click", (event) => address.choose({ row: event.points[0].customdata }));
    });
  }

  // Sources whose numbers are shown; few of them stand open.
  function showSources() {
    const root = $("#sources");
    if (!root) return;
    const wanted = chosen().places.source;
    for (const each of $$("li", root)) each.hidden = wanted !== null && !wanted.has(Number(each.dataset.of));
    root.open = wanted !== null;
  }

  // Of the printed numbers those that fit: a row or column of a table without any is left out, and so is its source.
  // They are thousands, so nothing is done while they are folded away.
  function showPrinted() {
    if (alone && !alone.open) return;
    const { places, has, filtered } = chosen();
    const fits = (name, place) => !places[name] || places[name].has(Number(place));
    let total = 0;
    for (const source of $$("#printed > details")) {
      let count = 0;
      const known = fits("source", source.dataset.of);
      const title = $("cite", source).textContent;
      for (const table of $$("table", source)) {
        const heads = $$("th[data-of]", table).map((head) => {
          const [method, metric] = head.dataset.of.split(" ");
          return { text: head.textContent, fits: known && fits("method", method) && fits("metric", metric), count: 0 };
        });
        const level = table.tHead.rows[0].cells[0].textContent;
        for (const row of table.tBodies[0].rows) {
          const [dataset, kind] = row.dataset.of.split(" ");
          let of = 0;
          if (known && fits("dataset", dataset) && fits("kind", kind)) {
            heads.forEach((head, at) => {
              const label = `${row.cells[0].textContent} ${head.text} ${level} ${title}`;
              if (!head.fits || row.cells[at + 1].dataset.sort === "" || !has(label)) return;
              of += 1;
              head.count += 1;
            });
          }
          row.hidden = of === 0;
          count += of;
        }
        for (const row of table.rows) heads.forEach((head, at) => { row.cells[at + 1].hidden = head.count === 0; });
        table.parentNode.hidden = heads.every((head) => head.count === 0);
      }
      source.hidden = count === 0;
      $("summary small", source).textContent = `${count} ${count === 1 ? "number" : "numbers"}`;
      total += count;
    }
    const left = $$("#printed > details").filter((each) => !each.hidden);
    for (const each of left) each.open = filtered && left.length <= 3;
    $("#printed-count").textContent = filtered ? `${total} of them fit the filters.` : "";
  }

  const show = () => { showSummary(); showPoints(); showSources(); showPrinted(); };

  const form = $("#by");
  if (form) {
    state(form, { by: "method" }, (values) => {
      by = values.by;
      showSummary();
    });
  }
  // A count shows its rows, which stand below, and keeps how the page is sorted and counted.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="published.html#"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    address.choose({ ...chosen().cleared, ...Object.fromEntries(new URLSearchParams(link.hash.slice(1))) });
    $("#filters").scrollIntoView({ block: "start" });
  });
  const alone = $("#alone");
  if (alone) alone.addEventListener("toggle", showPrinted);
  startPoints();
  on("list", show);
  show();
})();
