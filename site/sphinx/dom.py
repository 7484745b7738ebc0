"""What selectolax leaves to be done by hand: take an attribute away, put several on, change a tag."""

from collections.abc import Mapping

from selectolax.lexbor import LexborHTMLParser, LexborNode


def take(element: LexborNode, *names: str) -> dict[str, str]:
    """Remove these attributes, as far as the element has them, and return them."""
    taken = {name: element.attrs[name] for name in names if name in element.attrs}
    for name in taken:
        del element.attrs[name]
    return taken


def put(element: LexborNode, attributes: Mapping[str, str]) -> None:
    for name, value in attributes.items():
        element.attrs[name] = value


def rename(page: LexborHTMLParser, element: LexborNode, tag: str) -> None:
    """Put another element around what this one holds."""
    other = page.create_node(tag)
    put(other, dict(element.attrs.items()))
    while element.first_child:
        other.insert_child(element.first_child, move=True)
    element.replace_with(other, move=True)


def wrap(page: LexborHTMLParser, element: LexborNode, tag: str) -> None:
    """Put an element around this one."""
    around = page.create_node(tag)
    element.insert_before(around, move=True)
    around.insert_child(element, move=True)
