// What the scripts of all pages share, as `Report`:
//
//   $, $$                    the first element, or a list of all, that a selector finds
//   make(name, properties, ...content)   an element; a property with a hyphen, and `role`, is an attribute
//   numberOf(cell)           what holds the number of a cell
//   words(text), hasAll(text, words)     the words of a search, and whether a text has them all
//   copy(text)               copies; a promise of whether the browser let it
//   address                  the state of the page: get, all, set, choose, onChange, carried, anchor, link
//   state(form, FIRST, show) a form whose fields stand in the address
//   whenChanged(form, act)   for forms with more to them
//   on(name, act), tell(name)            words of one script to others: "methods" (others are shown), "columns" (lay
//                            tables out again), "sorted" (a table, by a click), "list", "colours"
//   columns, methods, tables, …          what the file of that name offers
//
// These are classic scripts, as browsers load no modules from the disk. Each file is one function. No framework, no
// network; every number was formed when the site was made.
"use strict";

const Report = (() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  function make(name, properties = {}, ...content) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "role" || key.includes("-")) made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...content);
    return made;
  }

  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  const hasAll = (text, wanted) => {
    const low = text.toLowerCase();
    return wanted.every((word) => low.includes(word));
  };

  // Calls `act` once per change: a field tells of most twice, as "input" and as "change", but not of all, and not in all
  // that drives a page. The chooser of methods, which stands in many forms, tells "methods".
  function whenChanged(form, act) {
    let heard = "";
    const hear = (event) => {
      const { name, value, checked, type } = event.target;
      if (event.target.closest("#methods")) return;
      const now = JSON.stringify([name, value, checked, type]);
      const again = event.type === "change" && now === heard;
      heard = event.type === "input" ? now : "";
      if (!again) act(event);
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const kind of ["input", "change"]) form.addEventListener(kind, hear);
  }

  // The state of a page stands in its address as #name=value&name=value, so that a view can be shared. An address
  // without "=" is an anchor of the page; a name that is missing has its default. `CARRIED` names go along to other
  // pages of the site.
  // A choice replaces the address and adds no step to the history: "back" leads to the page before, which looks as it was
  // left, and not through twenty methods that were chosen one by one.
  const CARRIED = ["method", "methods", "pin", "order", "metric", "intervals"];
  const listeners = [];
  const hash = () => waiting ?? location.hash;
  const params = () => new URLSearchParams(hash().includes("=") ? hash().slice(1) : "");

  // Browsers limit how often a page writes its address; some throw. A choice holds at once, and is written when there is
  // room: 30 times in 3 seconds at most, the last choice always.
  let waiting = null; // what the address is to be
  let timer = 0;
  let written = []; // when
  function write() {
    clearTimeout(timer);
    if (waiting === null) return;
    const now = performance.now();
    written = written.filter((time) => now - time < 3000);
    if (written.length >= 30) { timer = setTimeout(write, 100); return; }
    written.push(now);
    try {
      history.replaceState(null, "", waiting || location.pathname + location.search);
      waiting = null;
    } catch { timer = setTimeout(write, 1000); }
  }
  addEventListener("pagehide", () => { written = []; write(); });

  const address = {
    get: (name) => params().get(name) || "",
    all: (name) => params().getAll(name),
    // Takes texts, and lists for names that occur several times; "" and [] are the default and are left out.
    set(changes) {
      const state = params();
      for (const [name, value] of Object.entries(changes)) {
        state.delete(name);
        for (const each of [value].flat()) if (each !== "") state.append(name, each);
      }
      const text = state.toString();
      waiting = text ? `#${text}` : "";
      write();
      carry();
    },
    // As `set`, and shows it: as if the reader had changed the address.
    choose(changes) {
      address.set(changes);
      follow();
    },
    // Calls `act` when the reader changes the address, not after `set`.
    onChange: (act) => listeners.push(act),
    // The state that goes along to another page, with names of that page.
    carried: (more = {}) => {
      const kept = [...params()].filter(([name]) => CARRIED.includes(name));
      return new URLSearchParams([...kept, ...Object.entries(more)]).toString();
    },
    anchor: () => (hash().includes("=") ? "" : hash().slice(1)),
    link: () => location.href.split("#")[0] + hash(),
  };
  const follow = () => { for (const act of listeners) act(); };

  // Links to other pages of the site take the carried state along, unless they have a state or an anchor of their own.
  let kept = null;
  function carry() {
    if (kept === address.carried()) return;
    kept = address.carried();
    for (const link of $$("main a[href]:not(.num > a), nav a[href], .brand")) {
      if (link.dataset.carries === undefined) link.dataset.carries = isPage(link) ? "yes" : "";
      if (link.dataset.carries) link.hash = kept;
    }
  }
  const isPage = (link) => /^(?!\/)[^:#?]+\.html$/.test(link.getAttribute("href")); // relative, so of this site

  addEventListener("hashchange", () => {
    waiting = null; // what the reader wrote holds
    follow();
    carry();
  });

  // Keeps the fields of a form (or of several) in the address. `FIRST` has the default of each name; a checkbox is "on"
  // or "off". A value that a field does not offer means the default, as a name without a field does. Calls
  // `show(values, changed)` now and after each change, with the names whose values are others than before.
  function state(form, FIRST, show) {
    const forms = [form].flat();
    const names = Object.keys(FIRST);
    const fields = Object.fromEntries(names.map((name) => [name, forms.flatMap((each) => $$(`[name="${name}"]`, each))]));
    const valueOf = (name) => {
      const [field] = fields[name];
      if (!field) return FIRST[name];
      if (field.type === "radio") return fields[name].find((each) => each.checked)?.value;
      return field.type === "checkbox" ? (field.checked ? "on" : "off") : field.value.trim();
    };
    const put = (name, value) => {
      for (const field of fields[name]) {
        if (field.type === "radio") field.checked = field.value === value;
        else if (field.type === "checkbox") field.checked = value === "on";
        else field.value = value;
      }
    };
    let last = {};
    const showAll = () => {
      const values = Object.fromEntries(names.map((name) => [name, valueOf(name)]));
      const changed = names.filter((name) => values[name] !== last[name]);
      last = values;
      show(values, changed);
    };
    const read = () => {
      for (const name of names) {
        const wanted = address.get(name).trim() || FIRST[name];
        put(name, wanted);
        if (valueOf(name) !== wanted) put(name, FIRST[name]);
      }
      showAll();
    };
    for (const each of forms) {
      whenChanged(each, () => {
        address.set(Object.fromEntries(names.map((name) => [name, valueOf(name) === FIRST[name] ? "" : valueOf(name)])));
        showAll();
      });
    }
    address.onChange(read);
    read();
  }

  const idOf = (text) => { try { return decodeURIComponent(text); } catch { return text; } }; // a lone % is no code

  // A link to an anchor of the page leaves the address as it is while that holds the state.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const target = link && hash().includes("=") && document.getElementById(idOf(link.hash.slice(1)));
    if (!target) return;
    event.preventDefault();
    if (!target.matches("a, button, input, select, [tabindex]")) target.tabIndex = -1;
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  });
  addEventListener("DOMContentLoaded", carry);

  // What holds the number of a cell: a link to its record, or a text.
  const numberOf = (cell) => $(":scope > :is(a, span):first-child", cell);

  async function copy(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* no clipboard for files in some browsers */ }
    const area = make("textarea", { value: text });
    ($("dialog[open]") || $("#main")).append(area); // what lies behind a dialog cannot be selected
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  const heard = {};
  const on = (name, act) => (heard[name] ??= []).push(act);
  const tell = (name) => { for (const act of heard[name] || []) act(); };

  return { $, $$, make, numberOf, words, hasAll, copy, address, state, whenChanged, on, tell };
})();
