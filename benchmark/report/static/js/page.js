// What the scripts of all pages share, as `Report`: finding elements, and the state of a page in its address.
//
// These are classic scripts, as browsers load no modules from the disk. Each file is one function; `Report` holds what
// others may use. No framework, no network; every number was formed when the site was made.
"use strict";

const Report = (() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Both, since not everything that drives a page sends both for a select.
  function whenChanged(form, act) {
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const kind of ["input", "change"]) form.addEventListener(kind, act);
  }

  // The state of a page stands in its address as #name=value&name=value, so that a view can be shared. An address
  // without "=" is an anchor of the page; a name that is missing has its default. `CARRIED` names go along to other
  // pages of the site.
  // A choice replaces the address and adds no step to the history: "back" leads to the page before, which looks as it was
  // left, and not through twenty methods that were chosen one by one.
  const CARRIED = ["method", "pin", "order", "metric", "intervals"];
  const listeners = [];
  const params = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

  const address = {
    get: (name) => params().get(name) || "",
    all: (name) => params().getAll(name),
    // Takes texts, and lists for names that occur several times; "" and [] are the default and are left out.
    set(changes) {
      const state = params();
      for (const [name, value] of Object.entries(changes)) {
        state.delete(name);
        for (const each of [value].flat()) if (each !== "" || Array.isArray(value)) state.append(name, each);
      }
      const text = state.toString();
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
      carry();
    },
    // Calls `act` when the reader changes the address, not after `set`.
    onChange: (act) => listeners.push(act),
  };

  // Links to other pages of the site take the carried state along, unless they have a state or an anchor of their own.
  function carry() {
    const kept = new URLSearchParams([...params()].filter(([name]) => CARRIED.includes(name))).toString();
    for (const link of $$("main a[href]:not(.num > a), nav a[href], .brand")) {
      if (link.dataset.carries === undefined) link.dataset.carries = isPage(link) ? "yes" : "";
      if (link.dataset.carries) link.hash = kept;
    }
  }
  const isPage = (link) => link.protocol === location.protocol && !link.hash && link.pathname.endsWith(".html");

  addEventListener("hashchange", () => {
    for (const act of listeners) act();
    carry();
  });

  // A link to an anchor of the page leaves the address as it is while that holds the state.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const target = link && location.hash.includes("=") && document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (!target) return;
    event.preventDefault();
    if (!target.matches("a, button, input, select, [tabindex]")) target.tabIndex = -1;
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  });
  addEventListener("DOMContentLoaded", carry);

  // What holds the number of a cell: a link to its record, or a text.
  const numberOf = (cell) => $(":scope > :is(a, span):first-child", cell);

  // Words of one script to others: `Report.on("methods", act)` and `Report.tell("methods")`.
  const heard = {};
  const on = (name, act) => (heard[name] ??= []).push(act);
  const tell = (name) => { for (const act of heard[name] || []) act(); };

  return { $, $$, numberOf, whenChanged, address, on, tell };
})();
