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
    const axis = (given) => ({ gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("quiet"), ...given });
    const type = log ? { type: "log", uirevision: "log" } : {};
    return {
      ...layout,
      ...(onPaper ? { autosize: false, width: PAPER_WIDTH } : { autosize: true }),
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

  function draw(place) {
    place.figure ??= JSON.parse($(`script[data-chart="${CSS.escape(place.id)}"]`).textContent);
    const { data, layout } = place.figure;
    const leftOut = new Set($$("main .off[data-method]").map((each) => each.dataset.method));
    const traces = data.map((trace) => ({ ...trace, visible: leftOut.has(trace.meta) ? false : trace.visible ?? true }));
    return Plotly.react(place, traces, themed(layout, address.all("log").includes(place.id)), {
      displaylogo: false, responsive: true,
      displayModeBar: matchMedia("(hover: hover)").matches ? undefined : false, // on a phone it lies over the legend
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
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
