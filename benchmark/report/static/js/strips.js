// Strips of image scores: makes the chart of the rows that are shown, and leads from a mark to the gallery.
"use strict";

Report.strips = (() => {
  const FROM_MIDDLE = [0.17, -0.17]; // of a row: normal images above, anomalous ones below

  // Takes a figure, the titles that are shown, and what reads packed numbers and writes texts literally.
  function figure({ layout }, methods, { fractions, escaped }) {
    const { steps, strips: { rows, keys, linked, row: rowHeight, border, longest, sides } } = layout.meta;
    const open = new Set(linked);
    const shown = rows.filter((row) => methods.has(row.title));
    const data = sides.flatMap(({ name, color, symbol }, side) => {
      const marks = { x: [], y: [], text: [], customdata: [] };
      const middles = { x: [], y: [], text: [] };
      shown.forEach((row, place) => {
        const at = fractions(row.x, steps);
        const [from, to] = side ? [row.normal, at.length] : [0, row.normal];
        const y = shown.length - 1 - place + FROM_MIDDLE[side];
        for (let index = from; index < to; index++) {
          marks.x.push(at[index]);
          marks.y.push(y);
          const text = keys ? escaped(keys[index]) : `${row.counts[index]} ${name} images`;
          marks.text.push(open.has(index) ? `${text}<br>a click opens it in the gallery` : text);
          marks.customdata.push(open.has(index) ? keys[index] : null);
        }
        if (row.medians[side] === null) return;
        middles.x.push(row.medians[side]);
        middles.y.push(y);
        middles.text.push(`median of the ${name} images, ${escaped(row.title)}`);
      });
      const shared = { mode: "markers", hovertemplate: "%{text}<extra></extra>" };
      return [
        { ...shared, ...marks, name, marker: { color, symbol, size: 6, opacity: 0.55 } },
        { ...shared, ...middles, showlegend: false, marker: { color, symbol: "line-ns", size: 13, line: { color, width: 3 } } },
      ];
    });
    const yaxis = {
      ...layout.yaxis,
      tickvals: shown.map((_, place) => shown.length - 1 - place),
      ticktext: shown.map((row) => escaped(row.title.length > longest ? `${row.title.slice(0, longest - 1)}…` : row.title)),
      range: [-0.5, shown.length - 0.5],
    };
    return { data, layout: { ...layout, yaxis }, height: border + rowHeight * shown.length };
  }

  // The address of an image opens it in the gallery, which listens for changes of the address.
  function opens(place) {
    place.on("plotly_click", ({ points: [point] }) => {
      if (point?.customdata) Report.address.choose({ image: point.customdata });
    });
  }

  return { figure, opens };
})();
