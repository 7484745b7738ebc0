// What a link within the book leads to, shown beside it: a term's definition, a work, an equation. On hover, when it has
// the focus, and at a first tap; a second one follows the link.

const LINKS = "article :is(a.term, a.reference[title], a[href*='#equation-']:not(.headerlink))";
const box = Object.assign(document.createElement("div"), { className: "preview", hidden: true, id: "preview" });
box.setAttribute("role", "tooltip");
/** @type {HTMLAnchorElement | null} */
let shown = null;

/** @param {HTMLAnchorElement} link */
function contentOf(link) {
  if (link.title) {
    link.dataset.about = link.title; // or the browser would show it as well
    link.removeAttribute("title");
  }
  if (link.dataset.about) return [link.dataset.about];
  const address = link.getAttribute("href");
  const other = /** @type {HTMLTemplateElement | null} */ (document.querySelector(`template[data-of="${address}"]`));
  if (other) return [other.content.cloneNode(true)]; // of another page
  const equation = document.getElementById(decodeURIComponent(link.hash.slice(1)));
  const set = [...(equation?.querySelectorAll("mjx-container") ?? [])]; // once for each width of a column
  return set.filter((part) => part.checkVisibility()).map((part) => part.cloneNode(true));
}

/** @param {HTMLAnchorElement} link */
function show(link) {
  if (shown === link) return;
  const content = contentOf(link);
  if (!content.length) return;
  hide();
  shown = link;
  box.replaceChildren(...content);
  box.hidden = false;
  link.setAttribute("aria-describedby", box.id);
  const place = link.getClientRects()[0];
  const room = document.documentElement.clientWidth;
  const above = place.bottom + box.offsetHeight + 12 > innerHeight && place.top > box.offsetHeight + 12;
  box.style.left = `${scrollX + Math.max(8, Math.min(place.left, room - box.offsetWidth - 8))}px`;
  box.style.top = `${scrollY + (above ? place.top - box.offsetHeight - 6 : place.bottom + 6)}px`;
}

function hide() {
  shown?.removeAttribute("aria-describedby");
  shown = null;
  box.hidden = true;
}

/** The link at which something happened, if it is one of ours. @param {Event} event @returns {HTMLAnchorElement | null} */
const linkOf = (event) => /** @type {Element} */ (event.target).closest(LINKS);

document.body.append(box);
let touched = false;
document.addEventListener("pointerdown", (event) => {
  touched = event.pointerType === "touch";
  if (!linkOf(event)) hide();
});
document.addEventListener("pointerover", (event) => {
  const link = linkOf(event);
  if (event.pointerType !== "mouse") return;
  if (link) show(link);
  else if (shown !== document.activeElement) hide();
});
document.addEventListener("focusin", (event) => {
  const link = linkOf(event);
  if (!touched && link) show(link);
  else if (!link) hide();
});
document.addEventListener("click", (event) => {
  const link = linkOf(event);
  if (!touched || !link || shown === link) return;
  show(link);
  if (shown === link) event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});
