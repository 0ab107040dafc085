// The behaviour of the report's pages. No framework, no network; every number was formed when the site was made.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Both, since not everything that drives a page sends both for a select.
function whenChanged(form, act) {
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const kind of ["input", "change"]) form.addEventListener(kind, act);
}

// ── Colours: as the system, light, dark ─────────────────────────────────────────────────────────────────────────────
const THEMES = ["", "light", "dark"];

function keep(value) {
  try { if (value === undefined) return localStorage.getItem("theme") || ""; localStorage.setItem("theme", value); }
  catch { /* no storage from the disk in some browsers: the choice then holds for the page */ }
  return value || "";
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  $("#theme").setAttribute("aria-label", `Colours: ${theme || "as the system"}`);
  $("#theme").title = $("#theme").getAttribute("aria-label");
  $("#theme").textContent = { "": "◐", light: "☀", dark: "☾" }[theme];
  colourCharts();
}

function startTheme() {
  setTheme(THEMES.includes(keep()) ? keep() : "");
  $("#theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % THEMES.length];
    keep(next);
    setTheme(next);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", colourCharts);
}

// ── Tables: sorting by a click or Enter on a header ─────────────────────────────────────────────────────────────────
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

// ── Datasets: one table at a time ───────────────────────────────────────────────────────────────────────────────────
function startTabs() {
  const form = $("#tabs");
  if (!form) return;
  const show = () => $$(".tab").forEach((tab, index) => { tab.hidden = String(index) !== form.elements.tab.value; });
  whenChanged(form, show);
  show();
}

// ── What is shown stands in the address, so that a view can be shared ───────────────────────────────────────────────
const view = () => new URLSearchParams(location.hash.slice(1));

function keepView(change) {
  const state = view();
  change(state);
  const text = state.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

// ── Methods: which of them are columns of tables, rows of the leaderboard and maps of galleries ─────────────────────
function startMethods() {
  const root = $("#methods");
  if (!root) return;
  const boxes = $$('input[name="method"]', root);
  const groups = $$('input[name="group"]', root);
  const links = $$("main a[href]").filter((link) => link.origin === location.origin && !link.hash && link.pathname.endsWith(".html"));

  const show = () => {
    const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const all = chosen.size === boxes.length;
    for (const group of groups) {
      const same = boxes.filter((box) => box.dataset.group === group.value);
      const some = same.filter((box) => box.checked).length;
      group.checked = some === same.length;
      group.indeterminate = some > 0 && some < same.length;
    }
    $("#method-count").textContent = all ? `all ${boxes.length}` : `${chosen.size} of ${boxes.length}`;
    for (const each of $$("main [data-method]")) each.classList.toggle("off", !chosen.has(each.dataset.method));
    spanGroups();
    const named = all ? [] : chosen.size ? [...chosen] : [""]; // no method is kept as one without a title
    const kept = all ? "" : `#${new URLSearchParams(named.map((title) => ["method", title]))}`;
    for (const link of links) link.hash = kept; // another page shows the same methods
    return named;
  };
  const read = () => {
    const wanted = view().getAll("method").filter((title) => !title || boxes.some((box) => box.value === title));
    for (const box of boxes) box.checked = !wanted.length || wanted.includes(box.value);
    show();
  };
  root.addEventListener("change", (event) => {
    if (event.target.name === "group") {
      for (const box of boxes) if (box.dataset.group === event.target.value) box.checked = event.target.checked;
    }
    const chosen = show();
    keepView((state) => {
      state.delete("method");
      for (const title of chosen) state.append("method", title);
    });
  });
  addEventListener("hashchange", read);
  read();
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

// ── Leaderboard ─────────────────────────────────────────────────────────────────────────────────────────────────────
function startLeaderboard() {
  const form = $("#controls");
  if (!form) return;
  const metric = form.elements.metric;
  const options = [...metric.options];
  const home = form.elements.domain.value;

  const read = () => {
    const wanted = view();
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
    keepView((state) => {
      for (const [name, value] of Object.entries(values)) if (value) state.set(name, value); else state.delete(name);
    });
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
    spanGroups();
    const diagrams = $$("#diagrams figure");
    for (const figure of diagrams) figure.hidden = !fits(figure);
    $("#no-diagram").hidden = diagrams.some((figure) => !figure.hidden);
  };

  whenChanged(form, (event) => {
    if (event.target.name === "level") offer();
    write();
    show();
  });
  addEventListener("hashchange", () => { read(); show(); });
  read();
  show();
}

// ── Gallery ─────────────────────────────────────────────────────────────────────────────────────────────────────────
const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// Resizes the values bilinearly (corners not aligned, as the maps are evaluated), and only then colours them.
function drawHeat(canvas, colours, longer) {
  const opacity = Number($("#opacity").value) / 100;
  const [w, h] = [Number(canvas.dataset.width), Number(canvas.dataset.height)];
  let values = decode(canvas.dataset.map);
  if ($("#scale").value === "image") {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    values = values.map((value) => (high > low ? ((value - low) * 255) / (high - low) : 0));
  }
  const scale = longer / Math.max(w, h);
  const [width, height] = [Math.round(w * scale), Math.round(h * scale)];
  const image = new ImageData(width, height);
  const place = (index, from, to) => {
    const at = Math.min(Math.max(((index + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  const columns = Array.from({ length: width }, (_, x) => place(x, w, width));
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = place(y, h, height);
    for (let x = 0; x < width; x++) {
      const [left, right, across] = columns[x];
      const above = values[top * w + left] * (1 - across) + values[top * w + right] * across;
      const below = values[bottom * w + left] * (1 - across) + values[bottom * w + right] * across;
      const level = Math.round(above * (1 - down) + below * down);
      image.data.set(colours.subarray(3 * level, 3 * level + 3), 4 * (y * width + x));
      image.data[4 * (y * width + x) + 3] = level * opacity;
    }
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function startGallery() {
  const gallery = $("#gallery");
  if (!gallery) return;
  const form = $("#gallery-controls");
  const dialog = $("#large");
  const body = $("#large-body");
  const colours = decode(gallery.dataset.colours);
  const cases = () => $$(".case", gallery).filter((each) => !each.hidden);
  let current = null;

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      entry.target.dataset.drawn = "";
      drawHeat(entry.target, colours, 96);
    }
  }, { rootMargin: "300px" });
  for (const canvas of $$("canvas", gallery)) seen.observe(canvas);

  const open = (item) => {
    current = item;
    const large = item.cloneNode(true);
    body.replaceChildren($(".what", large), $(".strip", large));
    for (const image of $$("img", body)) image.loading = "eager";
    for (const canvas of $$("canvas", body)) drawHeat(canvas, colours, 288);
    const all = cases();
    $("#large-place").textContent = `${all.indexOf(item) + 1} of ${all.length}`;
    if (!dialog.open) dialog.showModal();
  };
  const step = (by) => {
    const all = cases();
    const index = all.indexOf(current || document.activeElement.closest(".case"));
    const next = all[Math.min(Math.max(index + by, 0), all.length - 1)];
    if (!next) return;
    if (dialog.open) open(next);
    else { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "nearest" }); }
  };
  const KEYS = { ArrowDown: 1, ArrowRight: 1, j: 1, ArrowUp: -1, ArrowLeft: -1, k: -1 };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inGallery = document.activeElement.closest && document.activeElement.closest(".case");
    const typing = document.activeElement.matches("input, select, textarea");
    if (event.key in KEYS && !typing && (dialog.open || inGallery || event.key.length === 1)) {
      event.preventDefault();
      step(KEYS[event.key]);
    } else if (event.key === "Enter" && inGallery && !dialog.open) {
      event.preventDefault();
      open(inGallery);
    }
  });
  gallery.addEventListener("click", (event) => {
    const item = event.target.closest(".case");
    if (item) open(item);
  });
  dialog.addEventListener("close", () => {
    if (current) { current.focus({ preventScroll: true }); current.scrollIntoView({ block: "nearest" }); }
    current = null;
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  $("#large-before").addEventListener("click", () => step(-1));
  $("#large-after").addEventListener("click", () => step(1));
  $("#large-close").addEventListener("click", () => dialog.close());

  const arrange = () => {
    const by = Number($("#by").value);
    const direction = form.elements.order.value === "worst" ? -1 : 1;
    const wrong = (item) => Number(item.dataset.wrong.split(" ")[by]);
    gallery.append(...$$(".case", gallery).sort((a, b) => direction * (wrong(a) - wrong(b))));
    for (const item of $$(".case", gallery)) {
      item.hidden = form.elements.label.value !== "all" && item.dataset.label !== form.elements.label.value;
    }
  };
  whenChanged(form, (event) => {
    if (event.target.id === "opacity" || event.target.id === "scale") {
      for (const canvas of $$("canvas[data-drawn]", gallery)) drawHeat(canvas, colours, 96);
    } else arrange();
  });
}

// ── Charts ──────────────────────────────────────────────────────────────────────────────────────────────────────────
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function themed(layout) {
  const axis = (given) => ({ gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), ...given });
  return {
    ...layout,
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, ...layout.legend },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink") },
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
  };
}

function plot(script) {
  const { data, layout } = JSON.parse(script.textContent);
  const place = document.getElementById(script.dataset.chart);
  place.given = layout;
  return Plotly.newPlot(place, data, themed(layout), {
    displaylogo: false, responsive: true,
    displayModeBar: matchMedia("(hover: hover)").matches ? undefined : false, // on a phone it lies over the legend
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  });
}

function colourCharts() {
  for (const place of $$(".chart")) {
    if (!place.given) continue;
    const type = place.layout.yaxis.type;
    Plotly.react(place, place.data, themed({ ...place.given, yaxis: { ...place.given.yaxis, type } }));
  }
}

function startCharts() {
  if (typeof Plotly === "undefined") return;
  const draw = (place) => plot($(`script[data-chart="${CSS.escape(place.id)}"]`));
  addEventListener("beforeprint", () => { for (const place of $$(".chart")) if (!place.given) draw(place); });
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "400px" });
  for (const place of $$(".chart")) seen.observe(place);
  for (const button of $$("[data-log]")) {
    button.addEventListener("click", () => {
      const place = document.getElementById(button.dataset.log);
      if (!place.given) return;
      const log = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(log));
      const type = log ? "log" : "linear";
      Plotly.react(place, place.data, themed({ ...place.given, yaxis: { ...place.given.yaxis, type } }));
    });
  }
}

startTheme();
startSorting();
startTabs();
startMethods();
startLeaderboard();
startGallery();
startCharts();
