"use strict";
// What is off stands in the address (#off=W211,warning): a link to the page, or a reload, shows the same again.
(() => {
  const form = document.getElementById("filters");
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Without leave to write to the clipboard, an older way.
      getSelection().selectAllChildren(code);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  if (!form) return;
  const boxes = [...form.querySelectorAll("input")];
  const sections = [...document.querySelectorAll("section.code")];

  const show = () => {
    const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    let shown = 0, total = 0;
    for (const section of sections) {
      const count = Number(section.dataset.count);
      section.hidden = off.has(section.dataset.code) || off.has(section.dataset.severity);
      total += count;
      shown += section.hidden ? 0 : count;
    }
    document.getElementById("status").textContent = `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} findings`;
    return off;
  };
  const keep = () => {
    const off = [...show()];
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
    for (const box of boxes) if (box.name === "code") box.checked = checked;
    keep();
  };
  form.addEventListener("change", keep);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => set(true));
  document.getElementById("none").addEventListener("click", () => set(false));
  window.addEventListener("hashchange", read);
  read();
})();
