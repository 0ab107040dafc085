// The kind of cost over which the charts show the results.
"use strict";

(() => {
  const { $, $$, address, whenChanged } = Report;

  function start() {
    const boxes = $$('#choice input[name="cost"]');
    if (!boxes.length) return;
    const [first] = boxes;
    const read = () => {
      const chosen = boxes.find((box) => box.value === address.get("cost")) ?? first;
      chosen.checked = true;
      for (const view of $$("[data-cost]")) view.hidden = view.dataset.cost !== chosen.value;
    };
    whenChanged($("#choice"), (event) => {
      if (event.target.name !== "cost") return;
      address.set({ cost: event.target === first ? "" : event.target.value });
      read();
    });
    address.onChange(read);
    read();
  }
  start();
})();
