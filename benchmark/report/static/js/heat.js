// Heatmaps: stored values, resized and coloured on a canvas.
"use strict";

(() => {
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // Resizes the values bilinearly (corners not aligned, as the maps are evaluated), and only then colours them.
  function drawHeat(canvas, { colours, longer, opacity, scale }) {
    const [w, h] = [Number(canvas.dataset.width), Number(canvas.dataset.height)];
    let values = decode(canvas.dataset.map);
    if (scale === "image") {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      values = values.map((value) => (high > low ? ((value - low) * 255) / (high - low) : 0));
    }
    const zoom = longer / Math.max(w, h);
    const [width, height] = [Math.round(w * zoom), Math.round(h * zoom)];
    const image = new ImageData(width, height);
    const place = (index, from, to) => {
      const at = Math.min(Math.max(((index + 0.5) * from) / to - 0.5, 0), from - 1);
      const low = Math.floor(at);
      return [low, Math.min(low + 1, from - 1), at - low];
    };
    const columns = Array.from({ length: width }, (_, x) => place(x, w, width));
    for (let y = 0; y < height; y++) {
      const [top, bottom, down] = place(y, h, height);
      for (let x = 0; x < width; x++) {
        const [left, right, across] = columns[x];
        const above = values[top * w + left] * (1 - across) + values[top * w + right] * across;
        const below = values[bottom * w + left] * (1 - across) + values[bottom * w + right] * across;
        const level = Math.round(above * (1 - down) + below * down);
        image.data.set(colours.subarray(3 * level, 3 * level + 3), 4 * (y * width + x));
        image.data[4 * (y * width + x) + 3] = level * opacity;
      }
    }
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  Object.assign(Report, { decode, drawHeat });
})();
