// The first page: which domain, level and metric is shown.
"use strict";

(() => {
  const { $, $$, whenChanged, address, tell } = Report;

  function startLeaderboard() {
    const form = $("#controls");
    if (!form) return;
    const metric = form.elements.metric;
    const options = [...metric.options];
    const home = form.elements.domain.value;

    const read = () => {
      const wanted = new Map(["domain", "level", "metric", "search"].map((name) => [name, address.get(name)]));
      for (const name of ["domain", "level"]) {
        const found = $$(`input[name="${name}"]`, form).find((each) => each.value === wanted.get(name));
        if (found) found.checked = true;
      }
      offer();
      if ([...metric.options].some((each) => each.value === wanted.get("metric"))) metric.value = wanted.get("metric");
      form.elements.search.value = wanted.get("search") || "";
    };

    // Only the metrics of the level; the same metric of the other level stays chosen.
    const offer = () => {
      const level = form.elements.level.value;
      const title = metric.selectedOptions[0] ? metric.selectedOptions[0].textContent : "";
      metric.replaceChildren(...options.filter((each) => each.dataset.level === level));
      const same = [...metric.options].find((each) => each.textContent === title);
      metric.value = (same || metric.options[0]).value;
    };

    const write = () => {
      const search = form.elements.search.value.trim();
      const moved = metric.value !== options[0].value;
      const values = {
        domain: form.elements.domain.value === home ? "" : form.elements.domain.value,
        level: moved ? form.elements.level.value : "",
        metric: moved ? metric.value : "",
        search,
      };
      address.set(values);
    };

    const show = () => {
      const domain = form.elements.domain.value;
      const fits = (each) => each.dataset.metric === metric.value && (each.dataset.domain || domain) === domain;
      const words = form.elements.search.value.trim().toLowerCase();
      const named = (title) => title.toLowerCase().includes(words);
      const methods = $$("#matrix thead th[data-method]").map((each) => each.dataset.method);
      const someMethod = methods.some(named);
      const someDataset = $$("#matrix tbody tr").some((row) => named(row.dataset.title));
      const none = words && !someMethod && !someDataset;
      const keepMethod = (title) => !words || (someMethod ? named(title) : !none);
      const keepDataset = (row) => !words || (someDataset ? named(row.dataset.title) : !none);

      let shown = null;
      for (const body of $$("#leaderboard tbody[data-metric]")) {
        body.hidden = !fits(body);
        if (!body.hidden) shown = body;
        for (const row of body.rows) row.hidden = !keepMethod(row.dataset.title);
      }
      $("#leaderboard .nothing").hidden = shown !== null;
      $("#view-name").textContent = shown ? shown.dataset.heading : "";
      $("#view-note").textContent = none ? "No method and no dataset has that in its name." : shown ? shown.dataset.note : "";
      for (const body of $$("#matrix tbody")) {
        body.hidden = body.dataset.metric !== metric.value;
        for (const row of body.rows) {
          row.hidden = (domain !== "all" && row.dataset.domain !== domain) || !keepDataset(row);
        }
      }
      for (const cell of $$("#matrix [data-method]")) cell.hidden = !keepMethod(cell.dataset.method);
      tell("columns");
      const diagrams = $$("#diagrams figure");
      for (const figure of diagrams) figure.hidden = !fits(figure);
      $("#no-diagram").hidden = diagrams.some((figure) => !figure.hidden);
    };

    whenChanged(form, (event) => {
      if (event.target.name === "level") offer();
      write();
      show();
    });
    address.onChange(() => { read(); show(); });
    read();
    show();
  }
  startLeaderboard();
})();
