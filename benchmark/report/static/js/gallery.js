// The gallery: tiles of images with the maps of all methods, their order, and how they are drawn.
"use strict";

(() => {
  const { $, $$, make, state } = Report;
  const { decode, allColours, draw: drawHeat } = Report.heat;

  // The ground truth as an SVG: its `contour`, or its `area`.
  function outline(path, kind) {
    const svg = $(`#${kind}-template`).content.firstElementChild.cloneNode(true);
    for (const part of $$("path", svg)) part.setAttribute("d", path);
    return svg;
  }

  function startGallery() {
    const gallery = $("#gallery");
    if (!gallery) return;
    const { methods, images, normal, anomalous } = JSON.parse($("#gallery-data").textContent);
    for (const method of methods) {
      const between = decode(method.levels);
      method.levels = new Uint8Array(256).fill(255).fill(0, 0, method.first);
      method.levels.set(between, method.first);
    }
    // The maps of an image lie one after the other.
    const sizes = methods.map(({ width, height }) => width * height);
    const starts = sizes.map((_, method) => sizes.slice(0, method).reduce((sum, size) => sum + size, 0));
    const decoded = new Map(); // the maps of an image, once one of its tiles is drawn
    const mapOf = (image, method) => {
      if (!decoded.has(image)) decoded.set(image, decode(image.maps));
      return decoded.get(image).subarray(starts[method], starts[method] + sizes[method]);
    };
    const known = decode(gallery.dataset.colours);
    const colours = allColours(known);
    const view = $("#gallery-view");
    const own = () => view.elements.scale.value === "image";

    // A tile's canvas and contours exist only while it is `filled`: a browser holds few hundreds of them well.
    const drawings = new Map();
    const draw = (frame) => {
      const { image, method, longer } = drawings.get(frame);
      const canvas = $("canvas", frame);
      if (canvas) drawHeat(canvas, mapOf(image, method), methods[method], { colours, longer, own: own() });
    };
    const fill = (frame) => {
      const { image, method } = drawings.get(frame);
      const layer = $(".layer", frame);
      if (layer.dataset.filled !== undefined) return;
      layer.dataset.filled = "";
      if (method !== null) {
        layer.append(make("canvas", { role: "img", "aria-label": `Anomaly map of ${methods[method].title}` }));
        draw(frame);
      }
      if (image.contour) layer.append(outline(image.contour, "contour"));
    };
    const release = (frame) => {
      const layer = $(".layer", frame);
      delete layer.dataset.filled;
      for (const each of $$("canvas, .contour", layer)) each.remove();
    };

    function tile(image, method, { large }) {
      const layer = make("div", { className: "layer" });
      const frame = make("div", { className: "frame" }, layer);
      const alt = method === null ? "Test image" : "";
      layer.append(make("img", {
        alt, loading: large ? "eager" : "lazy", draggable: false,
        src: gallery.dataset.folder + (large ? image.large : image.photo),
      }));
      drawings.set(frame, { image, method, longer: large ? 288 : 96 });
      const caption = make("figcaption", {}, method === null ? "image" : methods[method].title);
      const figure = make("figure", {}, frame, caption);
      if (method === null) return figure;
      const { title } = methods[method];
      figure.dataset.method = title;
      figure.classList.toggle("off", !Report.methods.shown().has(title));
      const [right, others] = [image.right[method], image.label ? normal : anomalous];
      const place = make("small", {}, image.score[method]);
      if (others) {
        const words = image.label ? "normal images are lower" : "anomalous images are higher";
        const kind = right * 2 < others ? "wrong" : "right";
        place.append(" · ", make("span", { className: kind }, `${right}/${others}`));
        if (large) place.append(` ${words}, rank ${image.rank[method]} of ${normal + anomalous}`);
      }
      caption.append(place);
      return figure;
    }

    function truth(image) {
      const frame = make("div", { className: "frame truth" });
      if (image.contour === null) {
        frame.classList.add("empty");
        frame.append(make("span", {}, image.label ? "no mask" : "no defect"));
      } else {
        frame.append(make("div", { className: "layer" }, outline(image.contour, "area")));
      }
      return make("figure", {}, frame, make("figcaption", {}, "ground truth"));
    }

    // The image, its ground truth and the map of each method.
    const tiles = (image, { large }) => [
      tile(image, null, { large }), truth(image), ...methods.map((_, index) => tile(image, index, { large })),
    ];
    const frames = (root) => $$(".frame", root).filter((frame) => drawings.has(frame));

    const near = new Set();
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) { near.add(target); fill(target); } else { near.delete(target); release(target); }
      }
    }, { rootMargin: "300px" });

    const cases = $$(".case", gallery).map((item, index) => {
      const image = images[index];
      const what = $(".what", item);
      const button = make("button", { type: "button", className: "open" }, ...what.childNodes);
      what.append(button);
      $(".strip", item).replaceChildren(...tiles(image, { large: false }));
      for (const frame of frames(item)) seen.observe(frame);
      return { image, item, button };
    });
    const shown = () => {
      const places = new Map($$(".case", gallery).map((item, place) => [item, place]));
      return cases.filter(({ item }) => !item.hidden).sort((a, b) => places.get(a.item) - places.get(b.item));
    };

    const arrange = ({ by, first, label }) => {
      const column = 1 + methods.findIndex((method) => method.title === by);
      const sign = first ? 1 : -1;
      gallery.append(...[...cases].sort((a, b) => sign * (a.image.places[column] - b.image.places[column])).map((e) => e.item));
      for (const { image, item } of cases) {
        item.hidden = label !== "" && label !== (image.label ? "anomalous" : "normal");
      }
    };
    const present = ({ scale, contour, opacity }) => {
      const root = document.documentElement;
      root.style.setProperty("--heat", opacity / 100);
      root.classList.toggle("no-contour", contour === "off");
      for (const each of $$("[data-scale]", view)) each.hidden = each.dataset.scale !== scale;
    };
    const stops = Array.from({ length: known.length / 3 }, (_, stop) => known.subarray(3 * stop, 3 * stop + 3));
    $(".colours", view).style.background = `linear-gradient(to right, ${
      stops.map(([red, green, blue]) => `rgb(${red} ${green} ${blue})`)})`;
    const redraw = () => { for (const frame of drawings.keys()) if ($("canvas", frame)) draw(frame); };
    const FIRST = { by: "", first: "", label: "", scale: "", contour: "on", opacity: "75" };
    state([$("#gallery-controls"), view], FIRST, (values, changed) => {
      if (changed.some((name) => ["by", "first", "label"].includes(name))) arrange(values);
      present(values);
      if (changed.includes("scale")) redraw();
    });

    const step = (by) => {
      const all = shown();
      const index = all.findIndex(({ item }) => item.contains(document.activeElement));
      const next = all[Math.min(Math.max(index + by, 0), all.length - 1)];
      next.button.focus({ preventScroll: true });
      next.item.scrollIntoView({ block: "nearest" });
    };
    const KEYS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };
    gallery.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      step(KEYS[event.key]);
    });

    // Paper shows every tile.
    addEventListener("beforeprint", () => { for (const { item } of cases) frames(item).forEach(fill); });
    addEventListener("afterprint", () => {
      for (const { item } of cases) frames(item).filter((frame) => !near.has(frame)).forEach(release);
    });
    const forget = (root) => { for (const frame of frames(root)) drawings.delete(frame); };
    Report.gallery = { gallery, cases, shown, tiles, frames, fill, forget };
  }
  startGallery();
})();
