// The explorer starts: the page, and below its map what a server can do.

byId("selective").before(tableSection());
takeView();
startTable().catch((error) => { byId("table-say").textContent = error.message; });
