// What every page runs: the theme's scripts when the widgets stand, and what the theme leaves to be done.
import "./previews.js";

const scripts = new URL("scripts/", /** @type {HTMLScriptElement} */ (document.currentScript).src);

document.addEventListener("DOMContentLoaded", async () => {
  nameCopyButtons();
  await window.widgetsShown;
  for (const name of ["bootstrap", "pydata-sphinx-theme"]) {
    const script = Object.assign(document.createElement("script"), { async: false, src: `${scripts}${name}.js` });
    script.onload = () => {
      document.documentElement.dataset.loaded = name;
    };
    document.head.append(script);
  }
});

/** Each button that copies says what. */
function nameCopyButtons() {
  for (const button of document.querySelectorAll("button.copybtn")) {
    const code = button.previousElementSibling?.textContent?.trim().split("\n")[0];
    if (code) button.setAttribute("aria-label", `Copy the code that begins with ${code.slice(0, 60)}`);
  }
}

/** And each that unfolds, what: the theme puts them in when the page is there. */
function nameToggles() {
  for (const [i, button] of document.querySelectorAll("article button.toggle-button").entries()) {
    const title = button.closest(".admonition")?.querySelector(".admonition-title");
    const words = [...(title?.childNodes ?? [])].filter((part) => part !== button).map((part) => part.textContent);
    button.setAttribute("aria-label", `Show or hide: ${words.join("").trim()} (${i + 1} of the page)`);
  }
}
if (document.readyState === "complete") nameToggles();
else addEventListener("load", nameToggles);

// What is too wide scrolls by itself, and the keyboard must reach it, when it is unfolded too.
// Of code we know the columns before it is laid out.
const WIDE =
  ".cell_input, pre:not(.cell_input *), div.math > mjx-container, .cell_output > .output, .pst-scrollable-table-container";
const reach = new ResizeObserver((entries) => {
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  for (const entry of entries) {
    const target = /** @type {HTMLElement} */ (entry.target);
    const block = /** @type {HTMLElement} */ (target.matches(".cell_input") ? target.querySelector("pre") : target);
    const columns = Number(target.style.getPropertyValue("--columns"));
    const width = columns ? (columns * 0.6 * 0.8 + 2) * rem : block.scrollWidth;
    if (width > (columns ? target : block).clientWidth) block.tabIndex = 0;
    else block.removeAttribute("tabindex");
  }
});
for (const block of document.querySelectorAll(`article :is(${WIDE})`)) reach.observe(block);

// A drawer closes when it has led somewhere, and by a button.
for (const drawer of /** @type {NodeListOf<HTMLDialogElement>} */ (
  document.querySelectorAll("dialog[id$=sidebar-modal]")
)) {
  drawer.addEventListener("click", (event) => {
    if (/** @type {Element} */ (event.target).closest("a, .close-drawer")) drawer.close();
  });
  const close = Object.assign(document.createElement("button"), {
    type: "button",
    className: "close-drawer",
    textContent: "Close",
  });
  // The theme moves the sidebar's parts in and out: the button comes and goes with them.
  new MutationObserver(() => (drawer.open ? drawer.prepend(close) : close.remove())).observe(drawer, {
    attributeFilter: ["open"],
  });
}

/** The equation that a place in the page is in. @param {Node} node */
const equationOf = (node) =>
  (node.nodeType === Node.ELEMENT_NODE ? /** @type {Element} */ (node) : node.parentElement)?.closest(".math");

// Equations are copied as TeX.
document.addEventListener("copy", (event) => {
  const selection = getSelection();
  if (!selection || selection.isCollapsed) return;
  const range = selection.getRangeAt(0).cloneRange();
  const [first, last] = [equationOf(range.startContainer), equationOf(range.endContainer)];
  if (first) range.setStartBefore(first);
  if (last) range.setEndAfter(last);
  const copy = document.createElement("div");
  copy.append(range.cloneContents());
  const equations = copy.querySelectorAll(".math");
  if (!equations.length) return;
  for (const each of equations) {
    const dollars = each.matches("div") ? "$$" : "$";
    const tex = /** @type {HTMLElement} */ (each.querySelector("mjx-math")).dataset.latex;
    each.textContent = dollars + tex + dollars;
  }
  document.body.append(copy); // or it has no lines
  // biome-ignore lint/performance/useDomNodeTextContent: as it is laid out, in lines
  event.clipboardData?.setData("text/plain", copy.innerText);
  event.clipboardData?.setData("text/html", copy.innerHTML);
  copy.remove();
  event.preventDefault();
});
