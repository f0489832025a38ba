filter((off) => {
  const cases = [...document.querySelectorAll("li.case")];
  for (const each of cases) each.hidden = each.dataset.kinds.split(" ").every((kind) => off.has(kind));
  return `${cases.filter((each) => !each.hidden).length} of ${cases.length} cases`;
});
