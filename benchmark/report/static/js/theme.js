// The colours of a page: those of the system, or the other ones where the reader chose so. This script alone is not
// deferred: it sets the choice before anything is painted, so that no page flashes in colours that were not chosen.
"use strict";

(() => {
  const KEY = "zsad-bench.theme"; // other pages of the same host may keep a theme too
  const root = document.documentElement;
  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  const ofSystem = () => (darkSystem.matches ? "dark" : "light");

  function kept() {
    try { return localStorage.getItem(KEY); }
    catch { return ""; } // no storage from the disk in some browsers: a choice then holds for the page
  }

  function keep(theme) {
    try { if (theme) localStorage.setItem(KEY, theme); else localStorage.removeItem(KEY); }
    catch { /* see above */ }
  }

  function setTheme(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme; else delete root.dataset.theme;
  }
  setTheme(kept());

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const other = () => ((root.dataset.theme || ofSystem()) === "dark" ? "light" : "dark");
    const changed = () => {
      button.title = `Switch to ${other()} colours`;
      button.setAttribute("aria-label", button.title);
      Report.tell("colours");
    };
    button.addEventListener("click", () => {
      const chosen = other() === ofSystem() ? "" : other(); // the colours of the system follow it from then on
      keep(chosen);
      setTheme(chosen);
      changed();
    });
    darkSystem.addEventListener("change", changed);
    changed();
  });
})();
