// The explorer starts: the page, and below its pictures what a server can do.

byId("selective").before(tableSection(), ...(data.beside ? [compareSection()] : []), ...(data.live.model ? [trySection(), touchSection(), traceSection()] : []));
byId("kinds").before(byId("map")); // the whole network is what one sees first
document.querySelector(".mark").after(sectionLinks());
if (data.broken) byId("list").prepend(...data.broken.map((what) => el("p", { class: "say", role: "status" }, what)));
takeView();
startNotes();
startSearch();
startParts();
startTable().catch((error) => { byId("table-say").textContent = error.message; });
if (data.beside) startCompare();
if (data.live.model) {
  startTouch();
  startHeads();
  startTry();
  startTrace().catch((error) => { byId("trace-say").textContent = error.message; });
}

// Links to the parts of the page, of which the one that is read is marked.
function sectionLinks() {
  const sections = [...document.querySelectorAll("main > section:not(.head)")].filter((section) => !section.hidden);
  const links = Object.fromEntries(sections.map(({ id }) => [id, el("a", { href: `#${id}` }, id === "dead" ? "silent" : id)]));
  const seen = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) links[target.id].toggleAttribute("aria-current", isIntersecting);
  }, { rootMargin: "-20% 0px -79%" });
  sections.forEach((section) => seen.observe(section));
  return el("nav", { class: "sections", "aria-label": "Parts of the page" }, Object.values(links));
}
