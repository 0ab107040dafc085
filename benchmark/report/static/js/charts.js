// Charts: drawn when they come into view, in the colours of the page.
"use strict";

(() => {
  const { $, $$, on } = Report;

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
  startCharts();
  on("colours", colourCharts);
})();
