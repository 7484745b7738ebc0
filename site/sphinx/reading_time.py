"""Sphinx extension: the front page's map says how long each page that it lists takes to read.

Words at the pace of a text to think about, and more for an equation, a line of code that is shown, and
something to drag.
"""

from docutils import nodes

WORDS = 180  # a minute; plain prose is read at 240 (Brysbaert 2019)
SECONDS = {"equation": 20, "line of code": 2, "widget": 60}
WIDGET = "application/vnd.jupyter.widget-view+json"


def minutes(page: nodes.document) -> float:
    """How long a page takes to read, as far as its text says."""
    words = sum(len(block.astext().split()) for block in page.findall(nodes.paragraph))
    seconds = SECONDS["equation"] * len(list(page.findall(nodes.math_block)))
    for part in page.findall(nodes.container):
        if part.get("nb_element") == "cell_code_source" and not part.parent.get("hide_mode"):
            seconds += SECONDS["line of code"] * len(part.astext().splitlines())
        if part.get("mime_type") == WIDGET:
            seconds += SECONDS["widget"]
    return words / WORDS + seconds / 60


def tell(app, doctree, docname):
    """Write the minutes behind each page on the map, which is a list with numbers."""
    if docname != app.config.root_doc:
        return
    for chapters in doctree.findall(nodes.enumerated_list):
        for link in [
            each for strong in chapters.findall(nodes.strong) for each in strong.findall(nodes.reference)
        ]:
            target = app.env.relfn2path(link["refuri"].removesuffix(app.builder.out_suffix), docname)[0]
            if target in app.env.all_docs:
                time = f"{minutes(app.env.get_doctree(target)):.0f} min"
                strong = link.parent
                strong.parent.insert(
                    strong.parent.index(strong) + 1, nodes.inline("", f" {time}", classes=["time"])
                )


def setup(app):
    app.connect("doctree-resolved", tell)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
