// The gallery: its order, and an image enlarged.
"use strict";

(() => {
  const { $, $$, address, whenChanged, decode, drawHeat } = Report;

  function startGallery() {
    const gallery = $("#gallery");
    if (!gallery) return;
    const form = $("#gallery-controls");
    const dialog = $("#large");
    const body = $("#large-body");
    const colours = decode(gallery.dataset.colours);
    const cases = () => $$(".case", gallery).filter((each) => !each.hidden);
    let current = null;
    const draw = (canvas, longer) => {
      drawHeat(canvas, { colours, longer, opacity: Number($("#opacity").value) / 100, scale: $("#scale").value });
    };

    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        entry.target.dataset.drawn = "";
        draw(entry.target, 96);
      }
    }, { rootMargin: "300px" });
    for (const canvas of $$("canvas", gallery)) seen.observe(canvas);

    const open = (item) => {
      current = item;
      const large = item.cloneNode(true);
      body.replaceChildren($(".what", large), $(".strip", large));
      for (const image of $$("img", body)) image.loading = "eager";
      for (const canvas of $$("canvas", body)) draw(canvas, 288);
      const all = cases();
      $("#large-place").textContent = `${all.indexOf(item) + 1} of ${all.length}`;
      if (!dialog.open) dialog.showModal();
      address.set({ image: item.dataset.key });
    };
    const step = (by) => {
      const all = cases();
      const index = all.indexOf(current || document.activeElement.closest(".case"));
      const next = all[Math.min(Math.max(index + by, 0), all.length - 1)];
      if (!next) return;
      if (dialog.open) open(next);
      else { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "nearest" }); }
    };
    const KEYS = { ArrowDown: 1, ArrowRight: 1, j: 1, ArrowUp: -1, ArrowLeft: -1, k: -1 };
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const inGallery = document.activeElement.closest && document.activeElement.closest(".case");
      const typing = document.activeElement.matches("input, select, textarea");
      if (event.key in KEYS && !typing && (dialog.open || inGallery || event.key.length === 1)) {
        event.preventDefault();
        step(KEYS[event.key]);
      } else if (event.key === "Enter" && inGallery && !dialog.open) {
        event.preventDefault();
        open(inGallery);
      }
    });
    gallery.addEventListener("click", (event) => {
      const item = event.target.closest(".case");
      if (item) open(item);
    });
    dialog.addEventListener("close", () => {
      if (current) { current.focus({ preventScroll: true }); current.scrollIntoView({ block: "nearest" }); }
      current = null;
      address.set({ image: "" });
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    $("#large-before").addEventListener("click", () => step(-1));
    $("#large-after").addEventListener("click", () => step(1));
    $("#large-close").addEventListener("click", () => dialog.close());

    const arrange = () => {
      const by = Number($("#by").value);
      const direction = form.elements.order.value === "worst" ? -1 : 1;
      const wrong = (item) => Number(item.dataset.wrong.split(" ")[by]);
      gallery.append(...$$(".case", gallery).sort((a, b) => direction * (wrong(a) - wrong(b))));
      for (const item of $$(".case", gallery)) {
        item.hidden = form.elements.label.value !== "all" && item.dataset.label !== form.elements.label.value;
      }
    };
    // The image that the address names is enlarged; no image closes the dialog.
    const read = () => {
      const named = $$(".case", gallery).find((item) => item.dataset.key === address.get("image"));
      if (named) open(named);
      else if (dialog.open) dialog.close();
    };
    address.onChange(read);
    read();
    whenChanged(form, (event) => {
      if (event.target.id === "opacity" || event.target.id === "scale") {
        for (const canvas of $$("canvas[data-drawn]", gallery)) draw(canvas, 96);
      } else arrange();
    });
  }
  startGallery();
})();
