// The methods that are shown, those that stay at the left, the order of columns, and whether intervals stand there.
// `Report.methods.shown()` has (by `has`) the titles that are shown.
"use strict";

(() => {
  const { $, $$, words, hasAll, address, tell } = Report;
  let shown = { has: () => true }; // where there is nothing to choose
  Report.methods = { shown: () => shown };

  function startMethods() {
    const root = $("#methods");
    if (!root) return;
    const boxes = $$('input[name="method"]', root);
    const pins = $$('input[name="pin"]', root);
    const groups = $$('input[name="group"]', root);
    const order = $('select[name="order"]', root);
    const intervals = $('input[name="intervals"]', root);
    const find = $('input[name="find"]', root);

    // What a page has no use for is not offered.
    const withColumns = $("main th[data-method]") !== null;
    for (const each of $$(".of-columns", root)) each.hidden = !withColumns;
    if (intervals?.defaultChecked) $(".of-intervals", root).hidden = !$("main td.num small");

    const count = (chosen, pinned) => {
      const some = chosen === boxes.length ? `all ${boxes.length}` : `${chosen} of ${boxes.length}`;
      return pinned && withColumns ? `${some}, ${pinned} pinned` : some;
    };

    const show = () => {
      const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      for (const group of groups) {
        const same = boxes.filter((box) => box.dataset.group === group.value);
        const some = same.filter((box) => box.checked).length;
        group.checked = some === same.length;
        group.indeterminate = some > 0 && some < same.length;
      }
      if (boxes.length) shown = chosen;
      if (boxes.length) $("#method-count").textContent = count(chosen.size, pins.filter((pin) => pin.checked).length);
      if (boxes.length) for (const each of $$("main [data-method]")) each.classList.toggle("off", !chosen.has(each.dataset.method));
      if (intervals) $("#main").classList.toggle("no-intervals", !intervals.checked);
      tell("methods");
    };

    const read = () => {
      const wanted = address.all("method").filter((title) => !title || boxes.some((box) => box.value === title));
      const pinned = address.all("pin");
      for (const box of boxes) box.checked = !wanted.length || wanted.includes(box.value);
      for (const pin of pins) pin.checked = pinned.includes(pin.value);
      if (order) order.value = address.get("order") === "rank" ? "rank" : "";
      if (intervals) intervals.checked = { on: true, off: false }[address.get("intervals")] ?? intervals.defaultChecked;
      show();
    };

    // What a page has as its default may be a choice on another, so that intervals are written when they are chosen.
    const write = (name) => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      // Pins keep the order in which they were set. No method is kept as one without a title.
      const before = address.all("pin").filter((title) => pins.some((pin) => pin.value === title && pin.checked));
      const added = pins.filter((pin) => pin.checked && !before.includes(pin.value)).map((pin) => pin.value);
      address.set({
        method: chosen.length === boxes.length ? [] : chosen.length ? chosen : [""],
        pin: [...before, ...added],
        order: order ? order.value : "",
        ...(name === "intervals" ? { intervals: intervals.checked === intervals.defaultChecked ? "" : intervals.checked ? "on" : "off" } : {}),
      });
      show();
    };

    // All and none hold for the methods that the search finds.
    const found = () => boxes.filter((box) => !box.closest(".choice").hidden);
    const search = () => {
      const wanted = words(find.value);
      for (const box of boxes) box.closest(".choice").hidden = !hasAll(box.value, wanted);
      for (const field of $$(".choices fieldset", root)) field.hidden = !$$(".choice", field).some((each) => !each.hidden);
      $("#no-method").hidden = found().length > 0;
    };

    root.addEventListener("input", (event) => { if (event.target === find) search(); });
    root.addEventListener("change", (event) => {
      const { name, value, checked } = event.target;
      if (name === "find") return;
      if (name === "group") for (const box of boxes) if (box.dataset.group === value) box.checked = checked;
      if (name === "pin" && checked) for (const box of boxes) if (box.value === value) box.checked = true;
      write(name);
    });
    root.addEventListener("click", (event) => {
      const choice = event.target.closest("[data-choose]");
      if (!choice) return;
      for (const box of found()) box.checked = choice.dataset.choose === "all";
      write();
    });
    // Arrows go from method to method, Enter in the search to the first that was found.
    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const at = found().indexOf(event.target);
      const next = event.target === find && event.key === "Enter" ? found()[0] : at >= 0 && step ? found()[at + step] : null;
      if (event.target === find && event.key === "Enter") event.preventDefault();
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
    address.onChange(read);
    read();
  }
  startMethods();
})();
