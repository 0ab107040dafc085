// Tables to take along as CSV, LaTeX or Markdown: what is shown, in the order in which it is shown, with its marks, its
// intervals if they are shown, and the banner of synthetic results.
"use strict";

(() => {
  const { $, $$, make, numberOf, copy, columns } = Report;

  // As benchmark/common/csv_text.py: a text that a spreadsheet would run as a formula gets an apostrophe in front.
  const FORMULA = /^(\s*[=+\-@＝＋－＠]| *[\t\r\n])/;
  const plain = (text) => (FORMULA.test(text) ? `'${text}` : text);
  const oneLine = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();

  const WORDS = { best: "best", second: "second", alike: "not told apart from the best", once: "one training", wide: "wide range" };

  // A table as it is shown: { title, banner, heads, rows }, where a cell has a text and, if it holds a number, its marks,
  // its interval and its range.
  function read(table) {
    const isShown = (element) => element.getClientRects().length > 0;
    const heads = [...table.tHead.rows].at(-1).cells;
    const places = [...heads].flatMap((head, place) => (isShown(head) && !head.classList.contains("bars") ? [place] : []));
    const rows = [...table.tBodies, ...(table.tFoot ? [table.tFoot] : [])].flatMap((part) => [...part.rows]);
    const shown = rows.filter((row) => isShown(row) && row.cells.length === heads.length);
    return {
      title: titleOf(table),
      banner: $$(".banner").map((line) => oneLine(line.textContent)),
      heads: places.map((place) => oneLine(columns.nameOf(heads[place]))),
      rows: shown.map((row) => places.map((place) => cellOf(row.cells[place]))),
    };
  }

  function titleOf(table) {
    const page = $("h1") ? oneLine($("h1").textContent) : document.title;
    const tab = table.closest(".tab");
    const view = tab ? $("h3", tab) : ["leaderboard", "matrix"].includes(table.id) ? $("#view-name") : null;
    const label = table.parentElement.getAttribute("aria-label") || "";
    return [page, label, table.dataset.title || "", view ? oneLine(view.textContent) : ""].filter(Boolean).join(", ");
  }

  function cellOf(cell) {
    const number = cell.classList.contains("num");
    if (!number) return { text: oneLine(cell.textContent.replace(/\s+/g, " ")), number, marks: [], beside: "" };
    const value = numberOf(cell);
    const bare = [...cell.childNodes].filter((each) => each.nodeType === Node.TEXT_NODE);
    const text = oneLine(value ? value.textContent : bare.map((each) => each.textContent).join(""));
    const beside = $$("small", cell).filter((each) => each.getClientRects().length).map((each) => oneLine(each.textContent));
    const marks = ["best", "second"].filter((mark) => cell.classList.contains(mark));
    if ($(".alike", cell)) marks.push("alike");
    const signs = $$("small", cell).map((each) => each.textContent).join("");
    for (const [mark, sign] of [["once", "‡"], ["wide", "†"]]) if (signs.includes(sign)) marks.push(mark);
    return { text, number, marks, beside: beside.map((each) => each.replace(/[†‡]/g, "").trim()).filter(Boolean).join(" ") };
  }

  // --- CSV: the banner in comments. A column of numbers has nothing but numbers; intervals, marks, and why there is no
  // number stand in columns of their own.

  const field = (text) => (/[",#\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

  // A number as programs write it, or null.
  function numeric(text) {
    const found = text.replace("−", "-").replace(/^\+/, "").replace(/,(?=\d{3}\b)/g, "");
    return /^-?\d+(\.\d+)?$/.test(found) ? found : null;
  }
  const LACKING = ["", "–", "failed", "not run"];

  // How a column of texts is written: as numbers where all are, else as texts.
  function writer(texts) {
    const numbers = texts.some((text) => numeric(text)) && texts.every((text) => numeric(text) || LACKING.includes(text));
    return numbers ? (text) => numeric(text) ?? "" : plain;
  }

  function asCsv({ title, banner, heads, rows }) {
    const parts = heads.map((head, place) => {
      const cells = rows.map((row) => row[place]);
      const lacks = (cell) => cell.number && LACKING.includes(cell.text);
      const values = writer(cells.map((cell) => cell.text));
      const made = [[head, (cell) => (lacks(cell) ? "" : values(cell.text))]];
      const noted = cells.filter((cell) => cell.beside && !lacks(cell)).map((cell) => cell.beside);
      if (noted.length) {
        const name = noted.every((text) => /^[[±]/.test(text)) ? "interval" : "beside";
        const write = writer(noted);
        made.push([`${head} ${name}`, (cell) => (cell.beside && !lacks(cell) ? write(cell.beside) : "")]);
      }
      const why = (cell) => [cell.text, cell.beside].filter((text) => text && text !== "–");
      const mark = (cell) => (lacks(cell) ? why(cell) : cell.marks.map((each) => WORDS[each])).join("; ");
      if (cells.some(mark)) made.push([`${head} mark`, mark]);
      return made;
    });
    const lines = [...banner, title].map((line) => `# ${line}`);
    lines.push(parts.flat().map(([head]) => field(plain(head))).join(","));
    for (const row of rows) lines.push(parts.flatMap((made, place) => made.map(([, text]) => field(text(row[place])))).join(","));
    return `${lines.join("\n")}\n`;
  }

  // --- Markdown and LaTeX: escaped as benchmark/tables/style.py does

  function escapeMarkdown(text) {
    const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;", "`": "&#96;" };
    return text.replace(/[&<>\\`]/g, (letter) => entities[letter]).replace(/[|[\]*~_]/g, "\\$&").replace(/^(\d*)([-+#.)])(?!\w)/, "$1\\$2");
  }

  const LATEX = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "–": "--", "−": "$-$", "±": "$\\pm$",
    "≈": "$\\approx$", "†": "\\dag{}", "‡": "\\ddag{}", "·": "$\\cdot$", "Δ": "$\\Delta$", "↑": "$\\uparrow$", "↓": "$\\downarrow$",
    "→": "$\\rightarrow$", "←": "$\\leftarrow$", "≤": "$\\le$", "≥": "$\\ge$", "<": "\\textless{}", ">": "\\textgreater{}",
    "|": "\\textbar{}", '"': "\\textquotedbl{}",
  };
  function escapeLatex(text) {
    return text.replace(/[\\~^–−±≈†‡·Δ↑↓→←≤≥<>|"]|[&%_#${}]|[[\]*]/g, (letter) => LATEX[letter] || (/[[\]*]/.test(letter) ? `{${letter}}` : `\\${letter}`));
  }

  const LEGEND = {
    best: "Bold: the best of a row.", second: "Underlined: the second best.",
    alike: "≈ the paired interval of the difference to the best holds 0.", once: "‡ one training, or fewer than three.",
    wide: "† the last digits of the scores can move the number by more than 0.1 points.",
  };
  function legendOf({ rows }) {
    const cells = rows.flat();
    const found = Object.keys(LEGEND).filter((mark) => cells.some((cell) => cell.marks.includes(mark)));
    const intervals = cells.some((cell) => cell.beside.includes("[")) ? ["In brackets: 95 % bootstrap intervals."] : [];
    const undefined_ = cells.some((cell) => cell.text === "–") ? ["–: undefined."] : [];
    return [...found.map((mark) => LEGEND[mark]), ...intervals, ...undefined_].join(" ");
  }

  function asText(cell, escape, bold, under) {
    const { marks } = cell;
    const text = escape(cell.text);
    const number = marks.includes("best") ? bold(text) : marks.includes("second") ? under(text) : text;
    const signs = (marks.includes("alike") ? "≈" : "") + (marks.includes("once") ? "‡" : "") + (marks.includes("wide") ? "†" : "");
    return [number + escape(signs), cell.beside ? escape(cell.beside) : ""].filter(Boolean).join(" ");
  }

  function asMarkdown(shown) {
    const { title, banner, heads, rows } = shown;
    const cell = (each) => asText(each, escapeMarkdown, (text) => `**${text}**`, (text) => `<u>${text}</u>`);
    const isNumber = heads.map((_, place) => rows.some((row) => row[place].number));
    const line = (cells) => `| ${cells.join(" | ")} |`;
    return [
      ...banner.map((each) => `**${escapeMarkdown(each)}**\n`),
      `${escapeMarkdown(title)}\n`,
      line(heads.map(escapeMarkdown)),
      line(isNumber.map((number) => (number ? "---:" : ":---"))),
      ...rows.map((row) => line(row.map(cell))),
      `\n${escapeMarkdown(legendOf(shown))}`,
      "",
    ].join("\n");
  }

  function asLatex(shown) {
    const { title, banner, heads, rows } = shown;
    const cell = (each) => asText(each, escapeLatex, (text) => `\\textbf{${text}}`, (text) => `\\underline{${text}}`);
    const line = (cells) => `${cells.join(" & ")} \\\\`;
    const wide = (text) => `\\multicolumn{${heads.length}}{l}{${text}} \\\\`;
    return [
      ...[title, legendOf(shown), "Needs the package booktabs."].filter(Boolean).map((each) => `% ${each}`),
      `\\begin{tabular}{l${"r".repeat(heads.length - 1)}}`,
      "\\toprule",
      ...banner.map((each) => wide(`\\textbf{${escapeLatex(each)}}`)),
      ...(banner.length ? ["\\midrule"] : []),
      line(heads.map(escapeLatex)),
      "\\midrule",
      ...rows.map((row) => line(row.map(cell))),
      "\\bottomrule",
      "\\end{tabular}",
      "",
    ].join("\n");
  }

  // --- the menu at each table

  const FORMATS = { CSV: [asCsv, "csv"], LaTeX: [asLatex, "tex"], Markdown: [asMarkdown, "md"] };

  function download(text, name) {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const fileName = (title, ending) => `${title.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60).replace(/^-+|-+$/g, "")}.${ending}`;

  const button = (text, label, act) => make("button", { type: "button", className: "plain", "aria-label": label, onclick: act }, text);

  function fill(menu, table) {
    const said = make("p", { role: "status" });
    const copied = async (text, what) => { said.textContent = (await copy(text)) ? `${what} copied.` : "The browser does not let this page copy."; };
    for (const [name, [write, ending]] of Object.entries(FORMATS)) {
      menu.append(
        make("span", {}, name),
        button("Copy", `Copy as ${name}`, () => copied(write(read(table)), name)),
        button("Download", `Download as ${name}`, () => {
          const shown = read(table);
          download(write(shown), fileName(shown.title, ending));
        }),
      );
    }
    menu.append(make("span", {}, "Link"), button("Copy", "Copy the link to this view", () => copied(location.href, "Link")), said);
  }

  function start() {
    for (const table of $$("table.grid").filter((each) => each.tHead)) {
      const menu = make("div", { className: "take-menu" });
      const details = make("details", { className: "take" }, make("summary", {}, "Copy or download this table"), menu);
      details.addEventListener("toggle", () => {
        if (details.open && !menu.firstChild) fill(menu, table); // most tables are never taken
      });
      (table.closest(".scroll") || table).after(details);
    }
    // A menu closes by Esc and by a click elsewhere.
    const close = (kept) => { for (const open of $$("details.take[open]")) if (open !== kept) open.open = false; };
    document.addEventListener("click", (event) => close(event.target.closest("details.take")));
    document.addEventListener("keydown", (event) => {
      const open = event.key === "Escape" && $("details.take[open]");
      if (!open) return;
      if (open.contains(document.activeElement)) $("summary", open).focus();
      close(null);
    });
  }
  start();
  Report.take = { read, asCsv, asLatex, asMarkdown };
})();
