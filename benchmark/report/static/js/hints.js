// What there is to say about a number, and the whole of a shortened name: in one box beside what is pointed at, focused or
// tapped. A number leads to its record by a click or Enter; a finger gets the box first, which has the link.
"use strict";

(() => {
  const { $, $$, make, numberOf, on } = Report;

  const box = make("div", { id: "hint", className: "hint", hidden: true, role: "group", "aria-label": "About what is chosen" });
  $("#main").append(box);

  const isCut = (name) => name.scrollHeight > name.clientHeight + 1 || name.scrollWidth > name.clientWidth + 1;

  const WIDE = "† The last digits of the scores, which differ from machine to machine, can move this value by more than 0.1 points; its range stands beside it.";

  // The lines about a cell, from the attributes that tables.html gives it.
  function linesOf(cell) {
    const value = numberOf(cell);
    const { sort, behind, hint, said } = cell.dataset;
    const { headsOf, asMade } = Report.columns;
    const head = cell.closest("table").tHead ? headsOf(cell.closest("table"))[asMade(cell.parentElement).indexOf(cell)] : null;
    const method = head && head.dataset.method;
    const isWide = $(":scope > .range", cell) !== null;
    if (!value || !(method || behind || hint || isWide)) return [];
    const row = $("th", cell.parentElement);
    const lines = [];
    if (sort) {
      const place = cell.classList.contains("best") ? ", best of its row" : cell.classList.contains("second") ? ", second of its row" : "";
      lines.push(said || Number(sort).toFixed(2) + place);
    } else {
      const why = value.textContent.trim(); // a dash, or a word
      if (why !== "–") lines.push(`${why[0].toUpperCase()}${why.slice(1)}.`);
      else if (!hint) lines.push("Undefined.");
    }
    const beside = $$("small:not(.range)", cell).map((each) => each.textContent).join(" ");
    const [, deviation] = /± ([\d.]+)/.exec(beside) || [];
    if (deviation) lines.push(`Standard deviation over seeds ${deviation}.`);
    const [, low, high] = /\[([\d.-]+)–([\d.]+)\]/.exec(beside) || [];
    if (low) lines.push(`95 % bootstrap interval ${low} to ${high}.`);
    if (behind) {
      const [points, from, to] = behind.split(" ");
      lines.push(`${points} points behind the best, paired interval ${from} to ${to}.`);
      if ($(".alike", cell)) lines.push("These images do not show which of the two is better.");
    }
    if (beside.includes("‡")) lines.push("The difference to the best rests on one training, or on fewer than three.");
    if (isWide) lines.push(WIDE);
    if (hint) lines.push(hint);
    return [[method, row && row.textContent.trim()].filter(Boolean).join(" · "), ...lines];
  }

  // What an element of the page has a box for: a cell with a number, or a name that is cut.
  function subjectOf(element) {
    const found = element.closest && element.closest("td.num, .grid th");
    if (!found) return null;
    if (found.tagName === "TD") return numberOf(found) && linesOf(found).length ? found : null;
    const name = $(".name, :scope > a", found);
    return name && isCut(name) ? found : null;
  }
  const focusOf = (subject) => (subject.tagName === "TD" ? numberOf(subject) : $(".sort, a, .name", subject));

  let shown = null;
  let timer = 0;

  function hide() {
    clearTimeout(timer);
    if (shown) focusOf(shown).removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  function show(subject) {
    clearTimeout(timer);
    if (subject === shown) return;
    hide();
    const isCell = subject.tagName === "TD";
    const lines = isCell ? linesOf(subject) : [$(".name, a", subject).textContent.trim()];
    box.replaceChildren(...lines.map((line, at) => make("p", at ? {} : { className: "whole" }, line)));
    const link = isCell && $(":scope > a", subject);
    if (link) box.append(make("a", { href: link.href, tabIndex: -1 }, "Record")); // by keyboard the number is the link
    shown = subject;
    box.hidden = false;
    focusOf(subject).setAttribute("aria-describedby", "hint");
    place();
  }

  // Below what it is about, or above where there is no room; never over what it is about.
  function place() {
    if (!shown) return;
    const about = focusOf(shown).getBoundingClientRect();
    const scroller = shown.closest(".scroll");
    const view = scroller ? scroller.getBoundingClientRect() : { top: 0, bottom: innerHeight, left: 0, right: innerWidth };
    if (about.bottom < view.top || about.top > view.bottom || about.right < view.left || about.left > view.right || !about.width) {
      hide();
      return;
    }
    const { width, height } = box.getBoundingClientRect();
    const cell = shown.getBoundingClientRect();
    const below = cell.bottom + 4;
    const top = below + height <= innerHeight ? below : Math.max(cell.top - height - 4, 4);
    const left = Math.min(Math.max(about.left + about.width / 2 - width / 2, 8), document.documentElement.clientWidth - width - 8);
    box.style.top = `${top}px`;
    box.style.left = `${left}px`;
  }

  const later = (act, wait) => { clearTimeout(timer); timer = setTimeout(act, wait); };
  let pointer = "mouse";

  addEventListener("pointerdown", (event) => { pointer = event.pointerType; }, true);
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType !== "mouse") return;
    if (box.contains(event.target)) { clearTimeout(timer); return; }
    const subject = subjectOf(event.target);
    if (subject) later(() => show(subject), shown ? 60 : 250);
    else if (shown && !shown.contains(document.activeElement)) later(hide, 200);
    else clearTimeout(timer);
  });
  document.addEventListener("focusin", (event) => {
    if (box.contains(event.target) || !event.target.matches(":focus-visible")) return;
    const subject = subjectOf(event.target);
    if (subject) show(subject); else hide();
  });
  document.addEventListener("focusout", (event) => { if (shown && shown.contains(event.target)) later(hide, 100); });
  document.addEventListener("click", (event) => {
    if (pointer === "mouse" || box.contains(event.target)) return;
    const subject = event.detail ? subjectOf(event.target) : null; // Enter is a click without a pointer
    if (!subject) { if (event.detail) hide(); return; }
    if (event.target.closest(".num > a")) event.preventDefault();
    show(subject);
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown) { hide(); event.stopPropagation(); return; }
    move(event);
  }, true);
  addEventListener("scroll", place, true);
  addEventListener("resize", hide);
  on("columns", hide);
  on("methods", hide);

  // From a number arrows go to those beside it, as Tab takes forty steps for a row.
  function move(event) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const cell = step && event.target.matches(".num > :first-child") ? event.target.closest("td") : null;
    if (!cell || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const sibling = (element, by) => (by > 0 ? element.nextElementSibling : element.previousElementSibling);
    let next = cell;
    do {
      if (step[1]) next = sibling(next, step[1]);
      else {
        const row = sibling(next.parentElement, step[0]);
        next = row && row.cells[cell.cellIndex];
      }
    } while (next && !next.getClientRects().length);
    const value = next && $(":scope > :is(a, [tabindex]):first-child", next);
    if (!value) return;
    event.preventDefault();
    value.focus();
  }

  // What has a box and no link can be focused too.
  const bare = [
    ...$$("td:is([data-behind], [data-hint], :has(> .range)) > span:first-child"),
    ...$$('.grid th[scope="row"] > .name').filter((each) => each.textContent.length > 40),
  ];
  for (const each of bare) Object.assign(each, { tabIndex: 0, role: "button" });
})();
