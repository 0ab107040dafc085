// An image of the gallery enlarged, with all its maps, which zoom and move together.
"use strict";

(() => {
  const { $, make, address, copy, on } = Report;
  const MOST = 16; // times

  // Zoom and place of all pictures of `body` as CSS variables: x and y are where the left upper corner of the picture is,
  // as parts of its frame.
  function startZoom(body, told) {
    const at = { zoom: 1, x: 0, y: 0 };
    const inside = (value) => Math.min(Math.max(value, 1 - at.zoom), 0);
    const show = () => {
      [at.x, at.y] = [inside(at.x), inside(at.y)];
      body.style.setProperty("--zoom", at.zoom);
      body.style.setProperty("--x", `${100 * at.x}%`);
      body.style.setProperty("--y", `${100 * at.y}%`);
      body.classList.toggle("zoomed", at.zoom > 1);
      told(at.zoom);
    };
    const reset = () => { Object.assign(at, { zoom: 1, x: 0, y: 0 }); show(); };
    // Keeps the point (x, y) of the frame where it is.
    const zoom = (times, x = 0.5, y = 0.5) => {
      const next = Math.min(Math.max(at.zoom * times, 1), MOST);
      at.x = x - ((x - at.x) * next) / at.zoom;
      at.y = y - ((y - at.y) * next) / at.zoom;
      at.zoom = next;
      show();
    };
    const move = (x, y) => { at.x += x; at.y += y; show(); };

    const part = (frame, { clientX, clientY }) => {
      const box = frame.getBoundingClientRect();
      return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
    };
    body.addEventListener("wheel", (event) => {
      const frame = event.target.closest(".frame:not(.empty)");
      if (!frame) return;
      event.preventDefault();
      const lines = event.deltaMode ? 33 : 1;
      zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), ...part(frame, event));
    }, { passive: false });

    const fingers = new Map(); // pointers that are down, by id, in parts of the frame
    body.addEventListener("pointerdown", (event) => {
      const frame = event.target.closest(".frame:not(.empty)");
      if (!frame || event.button) return;
      frame.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, part(frame, event));
    });
    body.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = part(event.target.closest(".frame"), event);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, now);
      if (!other) return move(now[0] - before[0], now[1] - before[1]);
      const [was, is] = [before, now].map(([x, y]) => Math.hypot(x - other[0], y - other[1]));
      move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      if (was > 0) zoom(is / was, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      body.addEventListener(kind, (event) => fingers.delete(event.pointerId));
    }
    reset();
    return { zoom, move, reset, zoomed: () => at.zoom > 1 };
  }

  function startLarge() {
    if (!Report.gallery) return;
    const { gallery, cases, shown, tiles, frames, fill, forget } = Report.gallery;
    const dialog = $("#large");
    const body = $("#large-body");
    const said = (text) => { $("#large-said").textContent = text; };
    const zooming = startZoom(body, (zoom) => { $("#large-zoom").textContent = `${Math.round(100 * zoom)} %`; });
    let current = null;

    // The controls and the chooser of methods go along into the dialog, so that there is one of each.
    const lent = [[$("#gallery-view"), $("#large-view")], [$("#methods"), $("#large-methods")]]
      .filter(([element]) => element)
      .map(([element, place]) => {
        const home = make("div");
        home.style.display = "contents";
        element.before(home);
        home.append(element);
        return { element, place, home };
      });
    const lend = () => {
      for (const { element, place, home } of lent) {
        const { height } = element.getBoundingClientRect();
        Object.assign(home.style, { display: "block", height: `${height}px` }); // the page behind stays where it is
        place.append(element);
      }
    };
    const giveBack = () => {
      for (const { element, home } of lent) {
        home.append(element);
        Object.assign(home.style, { display: "contents", height: "" });
      }
    };

    const draw = () => { for (const frame of frames(body)) if (frame.getClientRects().length) fill(frame); };
    const open = (chosen) => {
      current = chosen;
      forget(body);
      const { image, item } = chosen;
      const strip = $(".strip", item).cloneNode(false);
      $("#large-what").replaceChildren(...[...chosen.button.childNodes].map((each) => each.cloneNode(true)));
      strip.append(...tiles(image, { large: true }));
      body.replaceChildren(strip);
      zooming.reset();
      said("");
      const all = shown();
      const place = all.indexOf(chosen);
      $("#large-place").textContent = place < 0 ? "" : `${place + 1} of ${all.length}`;
      if (!dialog.open) { lend(); dialog.showModal(); }
      dialog.scrollTop = 0;
      draw();
      address.set({ image: image.key });
    };
    const step = (by) => {
      const all = shown();
      const next = all[Math.min(Math.max(all.indexOf(current) + by, 0), all.length - 1)];
      if (!next || next === current) return;
      open(next);
      next.item.scrollIntoView({ block: "nearest" });
    };
    on("methods", () => { if (dialog.open) draw(); });

    gallery.addEventListener("click", (event) => {
      const item = event.target.closest(".case");
      if (item) open(cases.find((each) => each.item === item));
    });
    dialog.addEventListener("close", () => {
      giveBack();
      forget(body);
      body.replaceChildren();
      address.set({ image: "" });
      current.button.focus({ preventScroll: true });
      current.item.scrollIntoView({ block: "nearest" });
      current = null;
    });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    $("#large-before").addEventListener("click", () => step(-1));
    $("#large-after").addEventListener("click", () => step(1));
    $("#large-close").addEventListener("click", () => dialog.close());
    $("#large-in").addEventListener("click", () => zooming.zoom(1.5));
    $("#large-out").addEventListener("click", () => zooming.zoom(1 / 1.5));
    $("#large-link").addEventListener("click", async () => {
      said(await copy(location.href) ? "copied" : "not allowed here: copy the address of the page");
    });

    const STEPS = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 };
    const ZOOMS = { "+": () => zooming.zoom(1.5), "=": () => zooming.zoom(1.5), "-": () => zooming.zoom(1 / 1.5), 0: zooming.reset };
    const MOVES = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    dialog.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
      const act = event.shiftKey && MOVES[event.key] ? () => zooming.move(...MOVES[event.key])
        : ZOOMS[event.key] || (STEPS[event.key] && !event.shiftKey && (() => step(STEPS[event.key])));
      if (!act) return;
      event.preventDefault();
      act();
    });

    // The image that the address names is enlarged; no image closes the dialog.
    const read = () => {
      const key = address.get("image");
      const named = cases.find(({ image }) => image.key === key);
      if (named && named !== current) open(named);
      else if (!named && dialog.open) dialog.close();
    };
    address.onChange(read);
    read();
  }
  startLarge();
})();
