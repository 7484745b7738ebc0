"""How a slider is moved in a browser, and whether that changes what is beside it."""

SLIDERS = "[role=slider], input[type=range]"  # handles of ours, and the browser's own


def differs(page, area, before, *, patience=20) -> bool:
    """Whether a picture changes within a second: a frame or two, unless the machine is busy."""
    for _ in range(patience):
        page.wait_for_timeout(50)
        if picture(area) != before:
            return True
    return False


def picture(area) -> list[str]:
    """What a widget shows, without the drawings that hold the handles themselves."""
    return area.locator("canvas, svg:not(:has([role=slider]))").evaluate_all(
        "all => all.map((e) => e.toDataURL?.() ?? e.outerHTML)"
    )


def by_keyboard(page, handle, direction):
    handle.focus()
    told = f"{handle.get_attribute('aria-label')} {handle.get_attribute('aria-valuetext')}"
    brush = [" "] if "space bar" in told else []  # a pen goes down, or sprays
    for key in (*brush, *5 * ["ArrowRight" if direction > 0 else "ArrowLeft"], *brush):
        page.keyboard.press(key)


def by_pointer(page, handle, direction):
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    across = direction * max(60, box["width"] / 3)  # over half a coarse slider's step
    page.mouse.move(x + across, y - direction * 30, steps=5)  # and up: some handles go nowhere else
    page.mouse.up()
