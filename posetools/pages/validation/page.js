document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // Fallback without clipboard permission.
    getSelection().selectAllChildren(code);
    if (!document.execCommand("copy")) return;
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
});
filter((off) => {
  let shown = 0, total = 0;
  for (const section of document.querySelectorAll("section.code")) {
    const count = Number(section.dataset.count);
    section.hidden = off.has(section.dataset.code) || off.has(section.dataset.severity);
    total += count;
    shown += section.hidden ? 0 : count;
  }
  return `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} findings`;
});
