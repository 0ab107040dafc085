// Charts: drawn when they come near the screen, in the colours of the page, with the methods that are shown.
//
// The chart library is large. It is fetched beside the page, which is shown without it; a page that goes to paper
// cannot wait for it, and one that is printed as soon as it is loaded has it then.
"use strict";

(() => {
  const { $, $$, on, address } = Report;
  const LIBRARY = new URL("../plotly.min.js", document.currentScript.src).href;
  const PAPER_WIDTH = 640; // px; a page of A4 or Letter is about 700 px wide between its margins
  const places = $$(".chart");
  let library = null; // a promise, once the library is asked for
  const figures = new Map(); // of each place: read when it is first drawn, or handed over by `show`
  const near = new Set(); // places that came near the screen
  const drawn = new Set();
  let onPaper = false;

  function fetchLibrary() {
    library ??= new Promise((done) => {
      const script = document.createElement("script");
      script.src = LIBRARY;
      script.onload = done;
      script.onerror = () => {
        for (const place of places) place.textContent = "This chart needs static/plotly.min.js, which could not be loaded.";
      };
      document.head.append(script);
    });
    return library;
  }

  // The colours of the page by name, and its font. On paper the colours are light ones, whatever the page has.
  function lookOfPage() {
    const probe = document.createElement("span");
    if (onPaper) probe.style.colorScheme = "light";
    document.body.append(probe);
    const style = getComputedStyle(probe);
    const look = { family: style.fontFamily };
    for (const name of ["line", "ink", "raised", "quiet"]) {
      probe.style.color = `var(--${name})`;
      look[name] = style.color;
    }
    probe.remove();
    return look;
  }

  function themed(layout, log, { line, ink, raised, quiet, family }) {
    const axis = (given = {}) => ({
      gridcolor: line, linecolor: line, zerolinecolor: line, ...given,
      title: { font: { size: 13 }, ...given.title },
    });
    const type = log ? { type: "log", uirevision: "log" } : {};
    return {
      ...layout,
      uirevision: "same", // what the reader zoomed and hid stays when methods or colours change
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family, size: 13 },
      hoverlabel: { bgcolor: raised, bordercolor: line, font: { color: ink }, namelength: -1 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, ...layout.legend },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: quiet, activecolor: ink },
      xaxis: axis(layout.xaxis),
      yaxis: axis({ ...layout.yaxis, ...type }),
    };
  }

  // Many fractions come as numbers of steps, two bytes each; the layout says how many steps are 1.
  function fractions(text, steps) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return Array.from(new Uint16Array(bytes.buffer), (count) => count / steps);
  }

  // Plotly interprets some markup in texts.
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  function read(place) {
    const found = JSON.parse($(`script[data-chart="${CSS.escape(place.id)}"]`).textContent);
    for (const trace of found.data) {
      if (trace.meta) trace.name ??= escaped(trace.meta);
      for (const axis of ["x", "y"]) if (trace[axis]?.bdata) trace[axis] = fractions(trace[axis].bdata, found.layout.meta.steps);
    }
    return found;
  }

  function draw(place, look, shown) {
    const first = !drawn.has(place);
    drawn.add(place);
    if (!figures.has(place)) figures.set(place, read(place));
    const figure = figures.get(place);
    const strips = figure.layout.meta?.strips;
    const { data, layout, height } = strips ? Report.strips.figure(figure, shown, { fractions, escaped }) : figure;
    if (height) place.style.height = `${height}px`;
    const traces = data.map((trace) => ({ ...trace, visible: trace.meta && !shown.has(trace.meta) ? false : trace.visible ?? true }));
    const sized = onPaper ? { autosize: false, width: PAPER_WIDTH, height: parseFloat(place.style.height) } : { autosize: true };
    Plotly.react(place, traces, { ...themed(layout, address.all("log").includes(place.id), look), ...sized }, {
      displaylogo: false, responsive: true,
      displayModeBar: matchMedia("(hover: hover)").matches ? undefined : false, // on a phone it lies over the legend
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
    if (first && strips) Report.strips.opens(place);
  }

  function drawAll(some) {
    const look = lookOfPage();
    for (const place of some) draw(place, look, Report.methods.shown());
  }
  const drawAgain = () => drawAll(near);

  // Shows another figure in a chart, now or when the chart is first drawn.
  function show(id, figure) {
    const place = document.getElementById(id);
    figures.set(place, figure);
    if (near.has(place)) drawAll([place]);
  }

  function print() {
    if (typeof Plotly === "undefined") { fetchLibrary(); return; }
    onPaper = true;
    drawAll(places);
  }

  function afterPrint() {
    if (!onPaper) return;
    onPaper = false;
    drawAgain();
    for (const place of places) if (!near.has(place)) { Plotly.purge(place); drawn.delete(place); }
  }

  function showLog() {
    const keys = address.all("log");
    for (const button of $$("[data-log]")) button.setAttribute("aria-pressed", String(keys.includes(button.dataset.log)));
  }

  function start() {
    if (!places.length) return;
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        seen.unobserve(target);
        fetchLibrary().then(() => { near.add(target); drawAll([target]); });
      }
    }, { rootMargin: "400px" });
    for (const place of places) seen.observe(place);
    fetchLibrary();
    addEventListener("beforeprint", print);
    addEventListener("afterprint", afterPrint);
    for (const button of $$("[data-log]")) {
      button.addEventListener("click", () => {
        const others = address.all("log").filter((key) => key !== button.dataset.log);
        address.set({ log: button.getAttribute("aria-pressed") === "true" ? others : [...others, button.dataset.log] });
        showLog();
        drawAgain();
      });
    }
    let log = address.all("log").join();
    address.onChange(() => {
      if (log === address.all("log").join()) return;
      log = address.all("log").join();
      showLog();
      drawAgain();
    });
    showLog();
    on("colours", drawAgain);
    on("methods", drawAgain);
  }
  start();
  Report.charts = { show };
})();
