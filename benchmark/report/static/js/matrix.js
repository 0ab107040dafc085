// The matrix: which metric is shown and how, which rows, their order, and the colours behind the numbers.
"use strict";

(() => {
  const { $, $$, make, words, hasAll, numberOf, methods: { shown }, columns, tables, state, address, on, tell } = Report;

  const signed = (value, digits = 1) => { // what rounds to 0 has no sign
    const text = Math.abs(value).toFixed(digits);
    return Number(text) ? `${value < 0 ? "−" : "+"}${text}` : text;
  };

  // The rank of each value, 1 for the highest; equal values share the mean of their ranks.
  function ranksOf(values) {
    const known = values.filter((each) => each !== null);
    return values.map((value) => {
      if (value === null) return null;
      const higher = known.filter((each) => each > value).length;
      const equal = known.filter((each) => each === value).length;
      return higher + (equal + 1) / 2;
    });
  }

  // The ends of a scale of colours leave out the outermost twentieth, so that one outlier does not pale all others.
  const quantile = (sorted, part) => sorted[Math.round(part * (sorted.length - 1))];
  function ends(values, step, both) {
    if (!values.length) return [0, step];
    const sorted = (both ? values.map(Math.abs) : [...values]).sort((a, b) => a - b);
    const high = Math.max(step, Math.ceil(quantile(sorted, 0.95) / step) * step);
    if (both) return [-high, high];
    const low = Math.floor(quantile(sorted, 0.05) / step) * step;
    return low < high ? [low, high] : [low, low + step];
  }

  function startMatrix() {
    const table = $("#classes");
    if (!table) return;
    const form = $("#matrix-controls");
    const fields = form.elements;
    const { methods, metrics } = JSON.parse($("#matrix-data").textContent);
    const rows = columns.asMade(table.tBodies[0]).map((element, index) => ({
      element,
      index,
      dataset: element.dataset.dataset,
      whole: element.classList.contains("whole"),
      folds: "classes" in element.dataset,
      text: `${element.dataset.title} ${element.dataset.dataset} ${element.dataset.domain}`,
      cells: new Map($$("td[data-method]", element).map((cell) => [cell.dataset.method, cell])),
    }));
    const foldable = rows.filter((row) => row.folds);
    let chosen = null; // metric, show, baseline, domain and search

    // The numbers of a row as they are shown, null where there is none, by method.
    const numbersOf = (row, titles) => {
      const all = metrics[chosen.metric].values[row.index];
      const values = titles.map((title) => all[methods.indexOf(title)]);
      if (chosen.show === "rank") return ranksOf(values);
      if (chosen.show === "value") return values;
      const base = all[methods.indexOf(chosen.baseline)];
      return values.map((value) => (value === null || base === null ? null : value - base));
    };

    const fill = () => {
      const { texts, spreads, values } = metrics[chosen.metric];
      const how = chosen.show;
      const titles = methods.filter((title) => shown().has(title));
      const withIntervals = how === "value" && fields.intervals.checked;
      for (const row of rows) row.numbers = new Map(numbersOf(row, titles).map((value, place) => [titles[place], value]));
      const all = rows.flatMap((row) => [...row.numbers.values()]).filter((value) => value !== null);
      const [low, high] = how === "rank" ? [titles.length, 1] : ends(all, how === "value" ? 10 : 5, how === "difference");
      for (const row of rows) {
        for (const [title, value] of row.numbers) {
          const cell = row.cells.get(title);
          const place = methods.indexOf(title);
          const text = texts[row.index][place];
          // Blue is better and orange is worse; a value is the more orange the lower it is.
          const part = { difference: value / high, rank: (low - value) / (low - high || 1), value: (value - high) / (high - low) }[how];
          const number = { value: text, rank: (value ?? 0).toFixed(1), difference: signed(value ?? 0) }[how];
          // A number that lacks says why; a difference to a number that lacks is undefined.
          const lacking = values[row.index][place] === null ? text : "–";
          numberOf(cell).textContent = value === null ? lacking : number;
          cell.dataset.sort = value ?? "";
          cell.dataset.said = { // what hints.js says of the number
            value: "",
            rank: `Rank ${number} of ${titles.length}`,
            difference: `${signed(value ?? 0, 2)} points to ${chosen.baseline}`,
          }[how];
          cell.classList.toggle("high", value !== null && part > 0);
          cell.classList.toggle("low", value !== null && part < 0);
          cell.classList.toggle("none", value === null);
          cell.style.setProperty("--heat", Math.min(Math.abs(part || 0), 1).toFixed(3));
          for (const small of $$("small", cell)) small.remove();
          if (withIntervals && spreads[row.index][place]) cell.append(" ", make("small", {}, spreads[row.index][place]));
        }
      }
      explain(how, low, high);
    };

    const explain = (how, low, high) => {
      const ramp = $(".ramp");
      ramp.className = `ramp${{ difference: " two", rank: " ranks", value: "" }[how]}`;
      $("#legend").hidden = false;
      table.dataset.best = how === "rank" ? "lowest" : "highest";
      const title = fields.metric.selectedOptions[0];
      const measure = { value: "", rank: ", rank", difference: `, difference to ${chosen.baseline}` }[how];
      table.dataset.title = `${title.parentElement.label}: ${title.textContent}${measure}`;
      const [left, right] = {
        value: [`${low} or less`, high < 100 ? `${high} or more` : "100"],
        difference: [`${signed(low)} or less`, `${signed(high)} or more`],
        rank: ["rank 1", `rank ${low}`],
      }[how];
      $("#legend-low").textContent = left;
      $("#legend-high").textContent = right;
      $("#matrix-how").textContent = {
        value: "The values are percentages. Brackets hold 95 % bootstrap intervals over the test images.",
        difference: `The differences are in points: the method minus ${chosen.baseline}. They have no intervals here.`,
        rank: "The rank is the one among the methods that are shown; 1 is the best, and equal values share the mean of their ranks.",
      }[how];
      $("#of-differences").hidden = how !== "difference";
      $("#matrix-marks").hidden = how !== "value" || !fields.intervals.checked;
      $(".of-intervals").hidden = how !== "value";
    };

    const isFolded = (row) => address.all("folded").includes(row.dataset);
    // Which rows are shown: in the order of a column the classes of all datasets, and datasets only where they are folded.
    const arrange = () => {
      const wanted = words(chosen.search);
      const { values } = metrics[chosen.metric];
      const isFlat = $("thead [aria-sort$=ending]", table) !== null;
      const fits = (row) => (chosen.domain === "all" || row.element.dataset.domain === chosen.domain) && hasAll(row.text, wanted);
      const known = (row) => values[row.index].some((value) => value !== null);
      const folds = (row) => isFolded(row) && !wanted.length; // a search looks into what is folded
      const found = new Set(rows.filter(fits).map((row) => row.dataset));
      const without = rows.filter((row) => row.whole && found.has(row.dataset) && !known(row)).map((row) => row.dataset);
      for (const row of rows) {
        const under = row.whole ? !(isFlat && row.folds && !folds(row)) && found.has(row.dataset) : fits(row) && !folds(row);
        row.element.hidden = !under || !known(row);
        if (row.folds) $(".fold", row.element).setAttribute("aria-expanded", String(!folds(row)));
      }
      table.classList.toggle("flat", isFlat);
      if (fields.fold) fields.fold.checked = foldable.every(isFolded);
      const notes = [];
      if (!found.size) notes.push("No class and no dataset of this domain has all these words.");
      if (without.length) notes.push(`Without this metric, and so not shown: ${without.join(", ")}.`);
      $("#matrix-note").textContent = notes.join(" ");
    };
    const show = () => {
      fill();
      tables.sortAgain(table);
      arrange();
      tell("columns"); // their order may follow from the numbers
    };

    const fold = (titles) => {
      address.set({ folded: titles });
      arrange();
    };
    fields.fold?.addEventListener("change", () => fold(fields.fold.checked ? foldable.map((row) => row.dataset) : []));
    table.addEventListener("click", (event) => {
      const button = event.target.closest(".fold");
      if (!button) return;
      const title = button.closest("tr").dataset.dataset;
      const folded = address.all("folded");
      fold(folded.includes(title) ? folded.filter((each) => each !== title) : [...folded, title]);
    });
    on("sorted", arrange);
    const FIRST = { metric: fields.metric.value, show: "value", baseline: fields.baseline.value, domain: "all", search: "" };
    state(form, FIRST, (values) => { chosen = values; show(); });
    on("methods", show);
  }
  startMatrix();
})();
