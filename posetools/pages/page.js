"use strict";
// Tables wider than the screen get a scroll hint; without this script all tables on a narrow screen do.
(() => {
  document.documentElement.classList.add("scripted");
  const measure = () => {
    for (const box of document.querySelectorAll(".scroll")) {
      box.classList.toggle("wider", box.scrollWidth > box.clientWidth + 1);
    }
  };
  measure();
  window.addEventListener("resize", measure);
})();
// The unchecked filters are in the address (#off=W211,warning), so that a link or a reload shows the same.
// `show` hides filtered items and returns the status text.
const filter = (show) => {
  const form = document.getElementById("filters");
  if (!form) return;
  const boxes = [...form.querySelectorAll("input")];
  const off = () => boxes.filter((box) => !box.checked).map((box) => box.value);
  const update = () => { document.getElementById("status").textContent = show(new Set(off())); };
  const keep = () => {
    update();
    history.replaceState(null, "", off().length ? `#off=${off().join(",")}` : location.pathname + location.search);
  };
  const read = () => {
    const match = /^#off=([\w,]*)$/.exec(location.hash);
    const target = match ? null : document.getElementById(location.hash.slice(1));
    // A link within the page keeps the filter, unless its target is hidden.
    if (!target || target.closest("[hidden]")) {
      const gone = new Set(match ? match[1].split(",") : []);
      for (const box of boxes) box.checked = !gone.has(box.value);
    }
    update();
    if (target) target.scrollIntoView();
  };
  const set = (checked) => {
    for (const box of boxes) if (box.name !== "severity") box.checked = checked;
    keep();
  };
  form.addEventListener("change", keep);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => set(true));
  document.getElementById("none").addEventListener("click", () => set(false));
  window.addEventListener("hashchange", read);
  read();
};
