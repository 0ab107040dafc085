// Charts: drawn when they come near the screen, in the colours of the page, with the methods that are shown.
//
// The chart library is large. No page waits for it: it is fetched when the first chart comes near the screen, or when
// the page is at rest, as a page that goes to paper cannot wait for it.
"use strict";

(() => {
  const { $, $$, on, address } = Report;
  const LIBRARY = new URL("../plotly.min.js", document.currentScript.src).href;
  const PAPER_WIDTH = 640; // px; a page of A4 or Letter is about 700 px wide between its margins
  const places = $$(".chart");
  let library = null; // a promise, once the library is asked for
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

  // On paper the colours are light ones, whatever the page has.
  function colour(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    if (onPaper) probe.style.colorScheme = "light";
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function themed(layout, log) {
    const axis = (given = {}) => ({
      gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), ...given,
      title: { font: { size: 13 }, ...given.title },
    });
    const type = log ? { type: "log", uirevision: "log" } : {};
    return {
      ...layout,
      uirevision: "same", // what the reader zoomed and hid stays when methods or colours change
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink") }, namelength: -1 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, ...layout.legend },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("ink") },
      xaxis: axis(layout.xaxis),
      yaxis: axis({ ...layout.yaxis, ...type }),
    };
  }

  // Many numbers come as whole steps of 1/10000, two bytes each.
  function fractions(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return Array.from(new Uint16Array(bytes.buffer), (steps) => steps / 10000);
  }

  // Plotly interprets some markup in texts.
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  function read(place) {
    const found = JSON.parse($(`script[data-chart="${CSS.escape(place.id)}"]`).textContent);
    for (const trace of found.data) {
      if (trace.meta) trace.name ??= escaped(trace.meta);
      for (const axis of ["x", "y"]) if (trace[axis]?.bdata) trace[axis] = fractions(trace[axis].bdata);
    }
    return found;
  }

  function draw(place) {
    const first = !place.figure;
    place.figure ??= read(place);
    const leftOut = new Set($$("main .off[data-method]").map((each) => each.dataset.method));
    const strips = place.figure.layout.meta?.strips;
    const { data, layout, height } = strips ? Report.strips.figure(place.figure, leftOut, { fractions, escaped }) : place.figure;
    if (height) place.style.height = `${height}px`;
    const traces = data.map((trace) => ({ ...trace, visible: leftOut.has(trace.meta) ? false : trace.visible ?? true }));
    const sized = onPaper ? { autosize: false, width: PAPER_WIDTH, height: parseFloat(place.style.height) } : { autosize: true };
    const made = Plotly.react(place, traces, { ...themed(layout, address.all("log").includes(place.id)), ...sized }, {
      displaylogo: false, responsive: true,
      displayModeBar: matchMedia("(hover: hover)").matches ? undefined : false, // on a phone it lies over the legend
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
    if (first && strips) Report.strips.opens(place);
    return made;
  }

  const drawn = new Set();
  function drawAgain() { for (const place of drawn) draw(place); }

  function print() {
    if (typeof Plotly === "undefined") { fetchLibrary(); return; }
    onPaper = true;
    for (const place of places) draw(place);
  }

  function afterPrint() {
    if (!onPaper) return;
    onPaper = false;
    for (const place of places) if (drawn.has(place)) draw(place); else Plotly.purge(place);
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
        fetchLibrary().then(() => { drawn.add(target); draw(target); });
      }
    }, { rootMargin: "400px" });
    for (const place of places) seen.observe(place);
    addEventListener("load", () => (window.requestIdleCallback ?? setTimeout)(fetchLibrary));
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
    address.onChange(() => { showLog(); drawAgain(); });
    showLog();
    for (const word of ["colours", "methods", "figures"]) on(word, drawAgain); // figures: `place.figure` was changed
  }
  start();
})();
