// The first page: which domain and metrics are shown, and which methods and datasets are searched for.
//
// Without a metric in the address, the main ones stand side by side; with one, it has all of its columns.
"use strict";

(() => {
  const { $, $$, words, hasAll, address, state, tell, tables } = Report;

  const form = $("#controls");
  if (form) start();

  function start() {
    const table = $("#leaderboard");
    const heads = [...table.tHead.rows[0].cells];
    const sideBySide = table.dataset.start.split(" ");
    const notes = $$("#view-notes p");
    const metrics = new Map([...form.elements.metric.options].filter((each) => each.value).map((each) => [each.value, each.textContent]));
    const domains = $$('input[name="domain"]', form);
    const methods = [...new Set($$("tbody tr[data-method]", table).map((row) => row.dataset.method))];
    const datasets = new Map($$("#matrix tbody tr").map((row) => [row.dataset.title, row.dataset.domain]));

    // Where a title has all words, these titles are meant. Else some words may name methods, and others datasets.
    const found = (text) => {
      const wanted = words(text);
      const having = (titles, some) => titles.filter((title) => hasAll(title, some));
      const all = [methods, [...datasets.keys()]];
      if (!wanted.length) return { methods: all[0], datasets: all[1], nothing: false };
      let [some, others] = all.map((titles) => having(titles, wanted));
      if (!some.length && !others.length) {
        const ofMethods = wanted.filter((word) => having(methods, [word]).length);
        const ofDatasets = wanted.filter((word) => !ofMethods.includes(word));
        [some, others] = [having(methods, ofMethods), having(all[1], ofDatasets)];
        if (!some.length || !others.length) return { methods: [], datasets: [], nothing: true };
        return { methods: some, datasets: others, nothing: false };
      }
      return { methods: some.length ? some : all[0], datasets: others.length ? others : all[1], nothing: false };
    };

    const show = ({ domain, metric, search: text }, changed) => {
      const chosen = metric ? [metric] : sideBySide;
      const first = chosen[0];
      const search = found(text);

      const body = $$("tbody[data-domain]", table).find((each) => each.dataset.domain === domain);
      for (const each of $$("tbody[data-domain]", table)) each.hidden = each !== body;
      const ofDomain = notes.filter((each) => each.dataset.domain === domain);
      const some = body && chosen.some((each) => ofDomain.some((note) => note.dataset.metric === each));
      showColumns(chosen, !metric, body && "mixed" in body.dataset);
      if (body) body.hidden = !some;
      $("#leaderboard .nothing").hidden = Boolean(some);
      for (const row of $$("tbody tr[data-method]", table)) row.hidden = !search.methods.includes(row.dataset.method);
      if (changed.includes("metric") || changed.includes("domain")) sortBy(first);
      drawSpreads(body);

      $("#view-name").textContent = domains.length > 1 ? domain : "";
      for (const note of notes) note.hidden = search.nothing || !ofDomain.includes(note) || note.dataset.metric !== metric;
      if ($("#marks")) $("#marks").hidden = !body || "mixed" in body.dataset;
      $("#search-note").hidden = !search.nothing;
      showDatasets(domain, first, search);
      const diagrams = $$("#diagrams figure");
      for (const each of diagrams) each.hidden = each.dataset.domain !== domain || !chosen.includes(each.dataset.metric);
      for (const note of $$("#no-diagram, #diagram-note")) {
        note.hidden = (note.id === "no-diagram") === diagrams.some((each) => !each.hidden);
      }
      table.classList.add("ready");
      tell("columns");
    };

    // Of metrics side by side only the means; of a single one all of its columns, but for a mean that there is not.
    function showColumns(chosen, beside, mixed) {
      const shown = heads.map(({ dataset: { metric, part } }) => !metric
        || (chosen.includes(metric) && (beside ? part === "mean" : !(mixed && ["mean", "behind"].includes(part)))));
      for (const row of table.rows) {
        if (row.cells.length !== heads.length) continue; // the row that says that there is nothing
        shown.forEach((is, place) => { row.cells[place].hidden = !is; });
      }
    }

    // By the metric, the best first; what has no mean by its rank.
    function sortBy(metric) {
      const keys = [["mean", "descending"], ["rank", "ascending"]].map(([part, direction]) => (
        [heads.findIndex((head) => head.dataset.metric === metric && head.dataset.part === part), direction]));
      tables.own(table, keys.filter(([place]) => place >= 0));
    }

    function showDatasets(domain, metric, search) {
      $("#matrix-name").textContent = metrics.get(metric);
      let count = 0;
      for (const body of $$("#matrix tbody")) {
        body.hidden = body.dataset.metric !== metric;
        for (const row of body.rows) {
          row.hidden = (domain !== "all" && row.dataset.domain !== domain) || !search.datasets.includes(row.dataset.title);
          count += !body.hidden && !row.hidden;
        }
      }
      for (const cell of $$("#matrix [data-method]")) cell.hidden = !search.methods.includes(cell.dataset.method);
      const none = $("#matrix-none");
      none.hidden = count > 0;
      none.textContent = count ? "" : whyNone(domain, metric, search);
      $("#matrix").parentElement.hidden = !count;
    }

    function whyNone(domain, metric, search) {
      if (search.nothing) return ""; // that is said above
      const elsewhere = search.datasets.filter((title) => domain !== "all" && datasets.get(title) !== domain);
      const here = search.datasets.filter((title) => !elsewhere.includes(title));
      const parts = [];
      if (here.length) parts.push(`${here.join(", ")} ${here.length > 1 ? "have" : "has"} no ${metrics.get(metric)}; choose another metric.`);
      for (const other of new Set(elsewhere.map((title) => datasets.get(title)))) {
        const titles = elsewhere.filter((title) => datasets.get(title) === other);
        if (!here.length) parts.push(`${titles.join(", ")} ${titles.length > 1 ? "are" : "is"} in the domain ${other}, not in ${domain}; choose it above.`);
      }
      return parts.join(" ");
    }

    // Of each dataset a line, of the mean a thick one.
    function drawSpreads(body) {
      for (const cell of body ? $$("td.bars", body) : []) {
        if (cell.hidden || cell.firstChild || !cell.dataset.at) continue;
        const drawing = $("#spread").content.firstElementChild.cloneNode(true);
        const places = cell.dataset.at.split(" ").filter(Boolean);
        drawing.firstElementChild.setAttribute("d", places.map((x) => `M${x} 1V9`).join(""));
        if (cell.dataset.mean) drawing.lastElementChild.setAttribute("d", `M${cell.dataset.mean} 0V10`);
        cell.append(drawing);
      }
    }

    // Another metric has other columns.
    form.elements.metric.addEventListener("change", () => {
      address.set({ sort: address.all("sort").filter((text) => !text.startsWith("leaderboard:")) });
    });
    state(form, { domain: domains[0].value, metric: "", search: "" }, show);
  }
})();
