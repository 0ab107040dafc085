// The kind of cost over which the charts show the results.
"use strict";

(() => {
  const { $, $$, state } = Report;
  const first = $('#choice input[name="cost"]');
  if (!first) return;

  state($("#choice"), { cost: first.value }, ({ cost }) => {
    for (const view of $$("[data-cost]")) view.hidden = view.dataset.cost !== cost;
  });
})();
