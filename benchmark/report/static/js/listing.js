// Long lists: filters and a search that stand in the address, some hundred rows at once, and the row that is linked to.
//
// Each row of the table with the id "list" says in `data-of` at which place of each select of the form it stands.
// `Report.listing.chosen()` tells other scripts of the page what is chosen, and "list" that it changed.
"use strict";

(() => {
  const { $, $$, words, hasAll, whenChanged, address, tell } = Report;
  const AT_ONCE = 200; // rows: a table of thousands takes seconds to lay out

  const form = $("#filters");
  const table = $("#list");
  if (!form) return;
  const selects = $$("select", form);
  const names = selects.map((select) => select.name);
  const body = table ? table.tBodies[0] : null;
  const number = (count) => count.toLocaleString("en");

  // The options that are chosen, by the name of the select; a value that is none of the options is left out.
  function chosen(select) {
    const options = [...select.options].filter((option) => option.value && !option.dataset.several);
    return options.filter((option) => address.all(select.name).includes(option.value));
  }

  // Places that are chosen, by the name of the select; null for all.
  function places() {
    const found = {};
    for (const select of selects) {
      const options = chosen(select);
      found[select.name] = options.length ? new Set(options.map((option) => option.index - 1)) : null;
    }
    return found;
  }

  // The methods of another page may be several, which a select cannot show.
  function reflect() {
    for (const select of selects) {
      const options = chosen(select);
      const several = $("[data-several]", select);
      if (several) several.remove();
      if (options.length > 1) {
        const option = new Option(`${options.length} chosen`, "", true, true);
        option.dataset.several = "yes";
        select.append(option);
      } else select.value = options.length ? options[0].value : "";
    }
    const search = form.elements.search;
    if (search.value.trim() !== address.get("search")) search.value = address.get("search");
  }

  const texts = new WeakMap();
  function text(row) {
    if (!texts.has(row)) texts.set(row, row.textContent);
    return texts.get(row);
  }

  function linked() {
    const id = address.get("row") || address.anchor();
    const row = id ? document.getElementById(id) : null;
    return row && body && row.parentNode === body ? row : null;
  }

  let now = {};
  function show() {
    reflect();
    const wanted = places();
    const searched = words(address.get("search"));
    const fits = (row) => row.dataset.of.split(" ").every((place, at) => !wanted[names[at]] || wanted[names[at]].has(Number(place)));
    const here = linked();
    const all = address.get("show") === "all";
    const fitting = [];
    for (const row of body ? [...body.rows] : []) {
      const kept = fits(row) && hasAll(text(row), searched);
      row.hidden = !kept || (!all && fitting.length >= AT_ONCE && row !== here);
      row.classList.toggle("here", row === here);
      if (kept) fitting.push(row);
    }
    const cleared = Object.fromEntries([...names, "search", "row", "show"].map((name) => [name, ""]));
    const filtered = searched.length > 0 || Object.values(wanted).some(Boolean);
    now = { cleared, places: wanted, has: (label) => hasAll(label, searched), fitting, filtered };
    if (body) {
      const shown = all ? fitting.length : Math.min(fitting.length, AT_ONCE);
      const rows = number(body.rows.length);
      const some = fitting.length < body.rows.length;
      $("#count").textContent = !fitting.length ? "No row fits these filters."
        : shown < fitting.length ? `The first ${shown} of ${number(fitting.length)} rows${some ? " that fit" : ""}.`
        : some ? `${number(fitting.length)} of ${rows} rows ${fitting.length === 1 ? "fits" : "fit"}.`
        : `${rows} ${body.rows.length === 1 ? "row" : "rows"}.`;
      const more = $("#show-all");
      more.hidden = fitting.length <= AT_ONCE;
      more.textContent = all ? `Show the first ${AT_ONCE}` : `Show all ${number(fitting.length)}`;
    }
    $("#clear").hidden = !filtered;
    tell("list");
    return here;
  }

  function follow() {
    const here = show();
    if (!here) return;
    for (const each of $$("details", here)) each.open = true; // what it is that one came for
    here.scrollIntoView({ block: "center" });
  }

  whenChanged(form, (event) => {
    const { name, value } = event.target;
    if (!name) return;
    address.set({ [name]: name === "search" ? value.trim() : value, row: "" });
    show();
  });
  $("#show-all").addEventListener("click", () => {
    address.set({ show: address.get("show") === "all" ? "" : "all" });
    show();
  });
  $("#clear").addEventListener("click", () => {
    address.set(now.cleared);
    show();
    form.elements.search.focus();
  });
  // Sorted anew, others are the first rows; tables.js has heard the click before.
  document.addEventListener("click", (event) => { if (event.target.closest("#list thead")) show(); });
  address.onChange(follow);
  Report.listing = { chosen: () => now };
  follow();
})();
