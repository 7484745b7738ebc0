"""A view with the sliders that move it, as one thing to show."""

import ipywidgets


class Panel(ipywidgets.VBox):
    """A view above its ipywidgets sliders, each linked in the browser to a trait of the view.

    The links are made by JavaScript, so they hold in a page without Python too.
    """

    def __init__(
        self, view: ipywidgets.DOMWidget, sliders: dict[str, ipywidgets.Widget], *, linked: str = "value"
    ):
        """sliders : by the name of the trait of `view` that each moves; linked : the sliders' own trait"""
        for trait, slider in sliders.items():
            ipywidgets.jslink((slider, linked), (view, trait))
        columns = ipywidgets.GridBox(
            list(sliders.values()),
            layout=ipywidgets.Layout(
                grid_template_columns="repeat(auto-fit, minmax(240px, 1fr))",
                max_width="600px",
                overflow="visible",
            ),
        )
        super().__init__([view, columns], layout=ipywidgets.Layout(overflow="visible"))
        self.view, self.sliders = view, tuple(sliders.values())

    def __repr__(self) -> str:
        return repr(self.view)
