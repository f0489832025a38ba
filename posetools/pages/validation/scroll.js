"use strict";
// A table that is wider than the screen says that it scrolls; without this script every table on a narrow screen does.
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
