"""What a notebook shows as it likes, and anything else prints."""

from typing import Any


def show(thing: Any) -> None:
    """Display `thing` in a notebook; print it elsewhere."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(thing)
    else:
        display(thing) if get_ipython() else print(thing)
