// The matrix: which metric is shown and how, which rows, their order, and the colours behind the numbers.
"use strict";

(() => {
  const { $, $$, numberOf, whenChanged, address, on, tell } = Report;

  const signed = (value) => { // what rounds to 0 has no sign
    const text = Math.abs(value).toFixed(1);
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
    const body = table.tBodies[0];
    const rows = [...body.rows].map((element, index) => ({
      element,
      index,
      dataset: element.dataset.dataset,
      whole: element.classList.contains("whole"),
      folds: "classes" in element.dataset,
      words: `${element.dataset.title} ${element.dataset.dataset} ${element.dataset.domain}`.toLowerCase(),
      cells: new Map($$("td[data-method]", element).map((cell) => [cell.dataset.method, cell])),
    }));
    const foldable = rows.filter((row) => row.folds);
    const heads = new Map($$("thead th[data-method]", table).map((head) => [head.dataset.method, head]));
    const first = { metric: fields.metric.value, baseline: fields.baseline.value };
    const folded = new Set();
    let sort = "";
    let direction = "descending";

    const shownMethods = () => methods.filter((title) => !heads.get(title).classList.contains("off"));

    const read = () => {
      const pick = (field, wanted, fallback) => {
        field.value = wanted;
        if (field.selectedIndex < 0) field.value = fallback;
      };
      pick(fields.metric, address.get("metric"), first.metric);
      pick(fields.baseline, address.get("baseline"), first.baseline);
      for (const [name, home] of [["show", "value"], ["domain", "all"]]) {
        const same = $$(`input[name="${name}"]`, form);
        const found = same.find((each) => each.value === address.get(name)) || same.find((each) => each.value === home);
        if (found) found.checked = true;
      }
      fields.brackets.checked = address.get("brackets") === "1";
      fields.search.value = address.get("search");
      folded.clear();
      for (const title of address.all("folded")) if (foldable.some((row) => row.dataset === title)) folded.add(title);
      sort = heads.has(address.get("sort")) ? address.get("sort") : "";
      direction = address.get("direction") === "ascending" ? "ascending" : "descending";
    };
    const domain = () => (fields.domain ? fields.domain.value : "all");

    const write = () => address.set({
      metric: fields.metric.value === first.metric ? "" : fields.metric.value,
      show: fields.show.value === "value" ? "" : fields.show.value,
      baseline: fields.baseline.value === first.baseline ? "" : fields.baseline.value,
      brackets: fields.brackets.checked ? "1" : "",
      domain: domain() === "all" ? "" : domain(),
      search: fields.search.value.trim(),
      folded: [...folded],
      sort,
      direction: sort && direction === "ascending" ? direction : "",
    });

    // The numbers of a row as they are shown, null where there is none, by method.
    const numbersOf = (row, chosen) => {
      const all = metrics[fields.metric.value].values[row.index];
      const values = chosen.map((title) => all[methods.indexOf(title)]);
      if (fields.show.value === "rank") return ranksOf(values);
      if (fields.show.value === "value") return values;
      const base = all[methods.indexOf(fields.baseline.value)];
      return values.map((value) => (value === null || base === null ? null : value - base));
    };

    const fill = () => {
      const { texts, spreads } = metrics[fields.metric.value];
      const how = fields.show.value;
      const chosen = shownMethods();
      for (const row of rows) row.numbers = new Map(numbersOf(row, chosen).map((value, place) => [chosen[place], value]));
      const all = rows.flatMap((row) => [...row.numbers.values()]).filter((value) => value !== null);
      const [low, high] = how === "rank" ? [chosen.length, 1] : ends(all, how === "value" ? 10 : 5, how === "difference");
      for (const row of rows) {
        for (const [title, value] of row.numbers) {
          const cell = row.cells.get(title);
          const place = methods.indexOf(title);
          const text = texts[row.index][place];
          // Blue is better and orange is worse; a value is the more orange the lower it is.
          const part = { difference: value / high, rank: (low - value) / (low - high || 1), value: (value - high) / (high - low) }[how];
          const shown = { value: text, rank: (value ?? 0).toFixed(1), difference: signed(value ?? 0) }[how];
          // A number that lacks says why; a difference to a number that lacks is undefined.
          const lacking = metrics[fields.metric.value].values[row.index][place] === null ? text : "–";
          numberOf(cell).textContent = value === null ? lacking : shown;
          cell.dataset.sort = value ?? "";
          cell.classList.toggle("high", value !== null && part > 0);
          cell.classList.toggle("low", value !== null && part < 0);
          cell.classList.toggle("none", value === null);
          cell.style.setProperty("--heat", Math.min(Math.abs(part || 0), 1).toFixed(3));
          for (const small of $$("small", cell)) small.remove();
          if (how === "value" && fields.brackets.checked && spreads[row.index][place]) {
            const small = document.createElement("small");
            small.textContent = spreads[row.index][place];
            cell.append(" ", small);
          }
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
      const measure = { value: "", rank: ", rank", difference: `, difference to ${fields.baseline.value}` }[how];
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
        difference: `The differences are in points: the method minus ${fields.baseline.value}. They have no intervals here.`,
        rank: "The rank is the one among the methods that are shown; 1 is the best, and equal values share the mean of their ranks.",
      }[how];
      $("#of-differences").hidden = how !== "difference";
      $("#matrix-marks").hidden = how !== "value" || !fields.brackets.checked;
      $("#of-values").hidden = how !== "value";
    };

    const arrange = () => {
      const words = fields.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const { values } = metrics[fields.metric.value];
      const fits = (row) => (domain() === "all" || row.element.dataset.domain === domain()) && words.every((word) => row.words.includes(word));
      const known = (row) => values[row.index].some((value) => value !== null);
      const isFolded = (title) => folded.has(title) && !words.length; // a search looks into what is folded
      const found = new Set(rows.filter(fits).map((row) => row.dataset));
      const without = rows.filter((row) => row.whole && found.has(row.dataset) && !known(row)).map((row) => row.dataset);
      for (const row of rows) {
        const under = row.whole ? !(sort && row.folds && !isFolded(row.dataset)) && found.has(row.dataset) : fits(row) && !isFolded(row.dataset);
        row.element.hidden = !under || !known(row);
        if (row.folds) $(".fold", row.element).setAttribute("aria-expanded", String(!isFolded(row.dataset)));
      }
      const by = (row) => row.numbers.get(sort) ?? null;
      const order = !sort || !rows[0].numbers.has(sort) ? rows : [...rows].sort((a, b) => {
        const [x, y] = [by(a), by(b)];
        if (x === null || y === null) return (x === null) - (y === null); // without a number last either way
        return (direction === "ascending" ? 1 : -1) * (x - y) || a.index - b.index;
      });
      body.append(...order.map((row) => row.element));
      table.classList.toggle("flat", Boolean(sort));
      for (const [title, head] of heads) head.setAttribute("aria-sort", title === sort ? direction : "none");
      if (fields.fold) fields.fold.checked = folded.size === foldable.length;
      const notes = [];
      if (!found.size) notes.push("No class and no dataset of this domain has all these words.");
      if (without.length) notes.push(`Without this metric, and so not shown: ${without.join(", ")}.`);
      $("#matrix-note").textContent = notes.join(" ");
    };
    const show = () => { fill(); arrange(); };
    const showAll = () => { show(); tell("columns"); }; // their order may follow from the numbers

    whenChanged(form, (event) => {
      if (event.target.closest("#methods")) return; // methods.js tells of these
      if (event.target.name === "fold") {
        for (const row of foldable) folded[fields.fold.checked ? "add" : "delete"](row.dataset);
      }
      write();
      showAll();
    });
    body.addEventListener("click", (event) => {
      const button = event.target.closest(".fold");
      if (!button) return;
      const title = button.closest("tr").dataset.dataset;
      if (!folded.delete(title)) folded.add(title);
      write();
      arrange();
    });
    for (const button of $$("thead .sort", table)) {
      button.addEventListener("click", () => {
        const title = button.closest("th").dataset.method || "";
        direction = title === sort && direction === "descending" ? "ascending" : "descending";
        sort = title;
        write();
        arrange();
      });
    }
    address.onChange(() => { read(); showAll(); });
    on("methods", show);
    read();
    showAll();
  }
  startMatrix();
})();
