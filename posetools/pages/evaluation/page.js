"use strict";
// What is off stands in the address (#off=jitter,swap): a link to the page, or a reload, shows the same again.
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const boxes = [...form.querySelectorAll("input")];
  const cases = [...document.querySelectorAll("li.case")];

  const show = () => {
    const on = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const each of cases) {
      each.hidden = !each.dataset.kinds.split(" ").some((kind) => on.has(kind));
      shown += each.hidden ? 0 : 1;
    }
    document.getElementById("status").textContent = `${shown} of ${cases.length} cases`;
  };
  const keep = () => {
    show();
    const off = boxes.filter((box) => !box.checked).map((box) => box.value);
    history.replaceState(null, "", off.length ? `#off=${off.join(",")}` : location.pathname + location.search);
  };
  const read = () => {
    const match = /^#off=([\w,]*)$/.exec(location.hash);
    const target = match ? null : document.getElementById(location.hash.slice(1));
    // A link within the page leaves the filter as it is, unless it leads to what the filter hides.
    if (!target || target.closest("[hidden]")) {
      const off = new Set(match ? match[1].split(",") : []);
      for (const box of boxes) box.checked = !off.has(box.value);
    }
    show();
    if (target) target.scrollIntoView();
  };
  const set = (checked) => {
    for (const box of boxes) box.checked = checked;
    keep();
  };
  form.addEventListener("change", keep);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => set(true));
  document.getElementById("none").addEventListener("click", () => set(false));
  window.addEventListener("hashchange", read);
  read();
})();
