// The failures: which images are listed, and the rows and spreads of the table of kinds of defect.
"use strict";

(() => {
  const { $, $$, make, state, whenChanged, address, on } = Report;
  const STEP = 60; // images that are added at once

  // What a list holds and its order: `value` is null for images that are not in it, and the highest comes first.
  const mean = (values) => values.reduce((sum, each) => sum + each, 0) / values.length;
  const LISTS = {
    wrong: (of) => {
      const known = of.chosen.filter((each) => each !== null);
      return known.length && Math.max(...known) < 0.5 ? 1 - mean(known) : null;
    },
    disputed: (of) => {
      const known = of.chosen.filter((each) => each !== null);
      return known.length > 1 && Math.max(...known) > Math.min(...known) ? Math.max(...known) - Math.min(...known) : null;
    },
    differ: (of) => (of.a === null || of.b === null || of.a === of.b ? null : Math.abs(of.a - of.b)),
  };

  function startFailures() {
    const form = $("#failure-controls");
    if (!form) return;
    const source = $("#failures-data");
    const data = source ? JSON.parse(source.textContent) : null;
    const [a, b] = ["a", "b"].map((name) => form.elements[name]?.value ?? "");
    const FIRST = { list: "wrong", a, b, label: "", dataset: "", defect: "", numbers: "off" };
    let values = FIRST;
    const field = (name) => values[name];
    const count = () => Math.max(STEP, Math.ceil(Number(address.get("shown")) / STEP) * STEP || 0);

    const shown = (title) => Report.methods.shown().has(title);
    const places = () => data.methods.map((_, place) => place).filter((place) => shown(data.methods[place]));

    const listed = () => {
      const chosen = places();
      const [a, b] = [data.methods.indexOf(field("a")), data.methods.indexOf(field("b"))];
      const label = { anomalous: 1, normal: 0 }[field("label")];
      const found = [];
      data.images.forEach(([place, of, defect, key, photo, right], index) => {
        const within = data.classes[place];
        const dataset = data.datasets[within.dataset].title;
        if (label !== undefined && of !== label) return;
        if (field("dataset") && dataset !== field("dataset")) return;
        if (field("defect") && defect !== field("defect")) return;
        const value = LISTS[field("list")]({ chosen: chosen.map((each) => right[each]), a: right[a], b: right[b] });
        if (value !== null) found.push({ within, dataset, label: of, defect, key, photo, right, value, index });
      });
      return found.sort((x, y) => y.value - x.value || x.index - y.index);
    };

    const bars = (image, chosen) => {
      const pair = field("list") === "differ";
      const named = chosen.filter((place) => image.right[place] !== null);
      const words = named.map((place) => `${data.methods[place]} ${image.right[place].toFixed(2)}`);
      const strip = make("div", {
        className: pair ? "sides pair" : "sides", role: "img",
        "aria-label": `Fraction on the right side: ${words.join(", ")}`,
      });
      for (const place of named) {
        const title = data.methods[place];
        const bar = make("i", { className: image.right[place] < 0.5 ? "bad" : "", title: `${title}: ${image.right[place].toFixed(2)}` });
        if (title === field("a") || title === field("b")) bar.classList.add("picked");
        bar.style.setProperty("--right", image.right[place]);
        strip.append(bar);
      }
      return strip;
    };
    const numbers = (image, chosen) => make("dl", { className: "sides-numbers" }, ...chosen
      .filter((place) => image.right[place] !== null)
      .map((place) => make("div", { className: image.right[place] < 0.5 ? "bad" : "" },
        make("dt", {}, data.methods[place]), make("dd", {}, image.right[place].toFixed(2)))));

    const why = (image, chosen) => {
      const at = (title) => `${title} ${image.right[data.methods.indexOf(title)].toFixed(2)}`;
      if (field("list") === "differ") return `${at(field("a"))}, ${at(field("b"))}`;
      if (field("list") === "wrong") return `mean ${(1 - image.value).toFixed(2)}`;
      const known = chosen.filter((place) => image.right[place] !== null).sort((x, y) => image.right[x] - image.right[y]);
      return `from ${at(data.methods[known[0]])} to ${at(data.methods[known.at(-1)])}`;
    };

    const card = (image, chosen) => {
      // An image without a photo is in no gallery, so only its class can be opened.
      const kept = address.carried(image.photo ? { image: image.key } : {});
      const page = image.within.page + (kept && `#${kept}`);
      const item = make("li", { className: image.photo ? "failure" : "failure bare" });
      if (image.photo) {
        const photo = make("img", { src: image.photo, alt: `Test image ${image.key}`, loading: "lazy", width: 96, height: 96 });
        item.append(make("a", { className: "photo", href: page }, photo));
      }
      const label = image.label ? "anomalous" : "normal";
      const name = image.within.name ? `${image.dataset} / ${image.within.name}` : image.dataset;
      item.append(make("div", {},
        make("p", { className: "name" }, make("a", { href: page }, name)),
        make("p", {}, make("b", { className: label }, label), image.defect ? ` ${image.defect}` : "", ` · ${why(image, chosen)}`),
        make("p", {}, make("code", {}, image.key)),
        bars(image, chosen)));
      if (field("numbers") === "on") item.append(numbers(image, chosen));
      return item;
    };

    const summary = (found, chosen) => {
      const list = field("list");
      if (!chosen.length && list !== "differ") return "No method is chosen.";
      const within = data.datasets.filter((each) => !field("dataset") || each.title === field("dataset"));
      const sum = (name) => within.reduce((all, { [name]: [normal, anomalous] }) => (
        all + ({ normal, anomalous }[field("label")] ?? normal + anomalous)), 0);
      const noun = (count) => `${field("label")} image${count === 1 ? "" : "s"}`.trim();
      const counted = (count) => (field("defect") ? `${count} ${noun(count)} with ${field("defect")}` : `${count} of ${sum("counts")} ${noun()}`);
      const all = chosen.length === data.methods.length;
      const words = {
        wrong: `on the wrong side for ${chosen.length === 1 ? data.methods[chosen[0]] : all ? "all methods" : `the ${chosen.length} methods that are shown`}, the worst first`,
        disputed: "on which the methods differ, the largest difference between the best and the worst first",
        differ: `on which ${field("a")} and ${field("b")} differ, the largest difference first`,
      }[list];
      const line = found.length ? `${counted(found.length)} ${words}.` : `There is no ${noun(1)} ${words.replace(/, the .*/, "")} with this choice.`;
      if (within.every((each) => each.whole)) return line;
      if (list === "wrong" && all && !field("defect")) {
        return `${counted(sum("wrong"))} on the wrong side for all methods; ${found.length} of them are kept, the worst first.`;
      }
      return `${line} These are of the images that are kept, so there can be more.`;
    };

    const list = () => {
      const chosen = places();
      const found = listed();
      const first = found.slice(0, count());
      $("#failures").replaceChildren(...first.map((image) => card(image, chosen)));
      $("#found").textContent = summary(found, chosen);
      $("#more").hidden = first.length === found.length;
      $("#more").textContent = `Show more: ${first.length} of ${found.length} are shown`;
      for (const pair of $$(".pair", form)) pair.hidden = field("list") !== "differ";
    };

    const kinds = () => {
      const rows = $$("#kinds tbody tr");
      for (const row of rows) {
        const shown = $$("td[data-method]", row).filter((cell) => !cell.classList.contains("off") && cell.dataset.sort);
        const values = shown.map((cell) => Number(cell.dataset.sort));
        const spread = values.length > 1 ? Math.max(...values) - Math.min(...values) : null;
        const cell = $(".spread", row);
        cell.dataset.sort = spread ?? "";
        cell.textContent = spread === null ? "–" : spread.toFixed(1);
        row.hidden = Boolean((field("dataset") && row.dataset.dataset !== field("dataset")) || (field("defect") && row.dataset.defect !== field("defect")));
      }
      if (rows.length) $("#no-kinds").hidden = rows.some((row) => !row.hidden);
    };
    const show = () => {
      if (data) list();
      kinds();
    };

    whenChanged(form, () => address.set({ shown: "" })); // another list begins with its first images
    state(form, FIRST, (now) => { values = now; show(); });
    if (data) $("#more").addEventListener("click", () => {
      const before = count();
      address.set({ shown: String(before + STEP) });
      list();
      const next = $$("#failures > li")[before];
      if (next) $("a", next).focus();
    });
    on("methods", show);
  }
  startFailures();
})();
