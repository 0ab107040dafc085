// The colours of a page: as the system, light or dark.
"use strict";

(() => {
  const { $, tell } = Report;

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
    tell("colours");
  }

  function startTheme() {
    setTheme(THEMES.includes(keep()) ? keep() : "");
    $("#theme").addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % THEMES.length];
      keep(next);
      setTheme(next);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("colours"));
  }
  startTheme();
})();
