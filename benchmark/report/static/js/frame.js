// The frame of every page: the link past it, and the list of pages where the screen is narrower than the list.
"use strict";

(() => {
  const { $ } = Report;

  function startSkipLink() {
    $(".skip").addEventListener("click", (event) => {
      event.preventDefault(); // the address is the state of the page, so it stays
      $("#main").focus();
      $("#main").scrollIntoView();
    });
  }

  function startNavigation() {
    const list = $("#pages");
    const current = $("[aria-current]", list);
    const cue = () => {
      const end = list.scrollWidth - list.clientWidth;
      list.dataset.more = [list.scrollLeft > 1 && "before", list.scrollLeft < end - 1 && "after"].filter(Boolean).join(" ");
    };
    if (current) list.scrollLeft = current.offsetLeft - (list.clientWidth - current.offsetWidth) / 2;
    list.addEventListener("scroll", cue, { passive: true });
    addEventListener("resize", cue);
    cue();
  }
  startSkipLink();
  startNavigation();
})();
