// The methods that are shown: as columns of tables, rows of the leaderboard and maps of galleries.
"use strict";

(() => {
  const { $, $$, address, tell } = Report;

  function startMethods() {
    const root = $("#methods");
    if (!root) return;
    const boxes = $$('input[name="method"]', root);
    const groups = $$('input[name="group"]', root);

    const show = () => {
      const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      const all = chosen.size === boxes.length;
      for (const group of groups) {
        const same = boxes.filter((box) => box.dataset.group === group.value);
        const some = same.filter((box) => box.checked).length;
        group.checked = some === same.length;
        group.indeterminate = some > 0 && some < same.length;
      }
      $("#method-count").textContent = all ? `all ${boxes.length}` : `${chosen.size} of ${boxes.length}`;
      for (const each of $$("main [data-method]")) each.classList.toggle("off", !chosen.has(each.dataset.method));
      tell("methods");
      const named = all ? [] : chosen.size ? [...chosen] : [""]; // no method is kept as one without a title
      return named;
    };
    const read = () => {
      const wanted = address.all("method").filter((title) => !title || boxes.some((box) => box.value === title));
      for (const box of boxes) box.checked = !wanted.length || wanted.includes(box.value);
      show();
    };
    root.addEventListener("change", (event) => {
      if (event.target.name === "group") {
        for (const box of boxes) if (box.dataset.group === event.target.value) box.checked = event.target.checked;
      }
      const chosen = show();
      address.set({ method: chosen });
    });
    address.onChange(read);
    read();
  }
  startMethods();
})();
