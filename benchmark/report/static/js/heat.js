// Heatmaps: stored values, resized and coloured on a canvas.
"use strict";

(() => {
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // The 256 colours between some evenly spaced ones, as red, green and blue one after the other.
  function allColours(known) {
    const colours = new Uint8Array(3 * 256);
    const last = known.length / 3 - 1;
    for (let level = 0; level < 256; level++) {
      const at = (level / 255) * last;
      const below = Math.min(Math.floor(at), last - 1);
      for (let band = 0; band < 3; band++) {
        const [low, high] = [known[3 * below + band], known[3 * below + 3 + band]];
        colours[3 * level + band] = Math.round(low + (at - below) * (high - low));
      }
    }
    return colours;
  }

  // Resizes the values bilinearly (corners not aligned, as the maps are evaluated), and only then colours them.
  //
  // `levels` has the colour (0 to 255) of each of the 256 values that a map can have. With `own`, the colours run over
  // the range of this map instead. `longer` is the longer side of the canvas in pixels.
  function draw(canvas, values, { width: w, height: h, levels }, { colours, longer, own }) {
    const [lowest, highest] = [Math.min(...values), Math.max(...values)];
    const levelOf = (value) => {
      if (own) return highest > lowest ? ((value - lowest) * 255) / (highest - lowest) : 0;
      const below = Math.floor(value);
      return levels[below] + (value - below) * (levels[Math.min(below + 1, 255)] - levels[below]);
    };
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
        const level = Math.round(levelOf(above * (1 - down) + below * down));
        const at = 4 * (y * width + x);
        for (let band = 0; band < 3; band++) image.data[at + band] = colours[3 * level + band];
        image.data[at + 3] = level;
      }
    }
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  Report.heat = { decode, allColours, draw };
})();
