"""Sphinx extension: some of the book's pages, for a course (`make book CHAPTERS="6 7 8 10"`).

Every page is read, so that chapters, sections and theorems have the numbers that they have in the whole book.
Those that $LEFT_OUT names are neither run nor written: they leave the contents, the search and the way from
page to page, and what leads to them leads to the published book.
"""

import os
from pathlib import PurePosixPath

from docutils import nodes
from sphinx import addnodes
from sphinx.builders.html import StandaloneHTMLBuilder

NOTICE = 'A part of <a href="{}">the whole book</a>.'


class Pages(StandaloneHTMLBuilder):
    """Writes the pages that are not left out; gives the others the address that they are published at."""

    def write(self, build_docnames, updated_docnames, method="update"):
        super().write(build_docnames, self.env.found_docs.intersection(updated_docnames), method)

    def load_indexer(self, docnames):
        super().load_indexer(self.env.all_docs)  # or it looks for the words of those left out

    def get_relative_uri(self, from_, to, typ=None):
        if to in left_out(self.config):
            return self.config.html_baseurl + self.get_target_uri(to, typ)
        return super().get_relative_uri(from_, to, typ)


def left_out(config) -> set[str]:
    """The names of pages whose files are named."""
    return {str(PurePosixPath(path).with_suffix("")) for path in config.left_out}


def run_the_rest(app, config):
    """Execute only what is written, and say that it is a part. Old addresses belong to the published book."""
    if config.left_out:
        config.nb_execution_excludepatterns = config.left_out
        config.renamed, config.html_domain_indices = {}, False
        config.html_theme_options["extra_footer"] += " " + NOTICE.format(config.html_baseurl)


def leave_out(app, env):
    """Take pages out of the contents and of what is written, now that everything has its number."""
    pages = left_out(app.config)
    env.found_docs.difference_update(pages)
    for tree in (env.master_doctree, env.tocs[app.config.root_doc]):
        shorten(tree, pages)
    for page, below in env.toctree_includes.items():
        env.toctree_includes[page] = [name for name in below if name not in pages]


def shorten(tree: nodes.Node, pages: set[str]) -> None:
    """Remove pages from the contents that stand in a tree, and each part that is empty then."""
    for toctree in list(tree.findall(addnodes.toctree)):
        toctree["entries"] = [(title, name) for title, name in toctree["entries"] if name not in pages]
        toctree["includefiles"] = [name for name in toctree["includefiles"] if name not in pages]
        if not toctree["entries"]:
            toctree.parent.remove(toctree)


def say_where(app, doctree, docname):
    """Tell who points at a link that it leads to the published book."""
    published = tuple(
        app.config.html_baseurl + app.builder.get_target_uri(page) for page in left_out(app.config)
    )
    for link in doctree.findall(nodes.reference):
        if published and link.get("refuri", "").startswith(published):
            link["internal"], link["reftitle"] = False, "in the published book"


def setup(app):
    app.add_config_value("left_out", os.environ.get("LEFT_OUT", "").split(), "env")
    app.add_builder(Pages, override=True)
    app.connect("config-inited", run_the_rest)
    app.connect("env-check-consistency", leave_out)
    app.connect("doctree-resolved", say_where)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
