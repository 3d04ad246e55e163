// The explorer starts: the page, and below its map what a server can do.

byId("selective").before(tableSection(), ...(data.live.model ? [trySection(), touchSection()] : []));
takeView();
startNotes();
startTable().catch((error) => { byId("table-say").textContent = error.message; });
if (data.live.model) {
  startTouch();
  startTry();
}
