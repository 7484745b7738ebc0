// A widget's state in the page's address: a button writes it there, and a page with such an address begins with it.
//   …/06-elbo.html#widget-1&m0=0.5&m1=-1.2

/** What its state consists of. @param {Element} place @returns {string[]} */
const traits = (place) =>
  /** @type {HTMLElement} */ (place.querySelector(".vae-widget")).dataset.state?.split(" ") ?? [];

/** Whether a value from outside can stand where this one does; a list of lists may have any length. @param {any} now @param {any} value @returns {boolean} */
function fits(now, value) {
  if (Array.isArray(now))
    return (
      Array.isArray(value) &&
      (!now.length || Array.isArray(now[0]) || (now.length === value.length && now.every((v, i) => fits(v, value[i]))))
    );
  return typeof now === typeof value && (typeof value !== "number" || Number.isFinite(value));
}

/** Put a widget into the state that the address names, if it names this one. @param {Element} place @param {any} model */
function open(place, model) {
  const [id, ...parts] = location.hash.slice(1).split("&");
  if (id !== place.id) return;
  for (const part of parts) {
    const [name, text] = part.split("=");
    try {
      const value = JSON.parse(decodeURIComponent(text));
      if (traits(place).includes(name) && fits(model.get(name), value)) model.set(name, value);
    } catch {} // a link that was cut short still opens as far as it goes
  }
  model.save_changes();
  place.scrollIntoView({ block: place.clientHeight > innerHeight ? "start" : "center" });
}

/** Let readers share what a widget shows; `place` holds it, drawn. @param {Element} place @param {any} model */
export function share(place, model) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy link" });
  button.ariaLive = "polite";
  button.onclick = async () => {
    const parts = traits(place).map((name) => `${name}=${encodeURIComponent(JSON.stringify(model.get(name)))}`);
    history.replaceState(null, "", `#${[place.id, ...parts].join("&")}`);
    const copied = await navigator.clipboard?.writeText(location.href).then(
      () => true,
      () => false,
    );
    button.textContent = copied ? "Link copied" : "It is in the address";
    setTimeout(() => {
      button.textContent = "Copy link";
    }, 2500);
  };
  place.querySelector(".vae-widget .foot")?.append(button);
  addEventListener("hashchange", () => open(place, model));
  addEventListener("click", ({ target }) => {
    const link = target instanceof Element && /** @type {HTMLAnchorElement | null} */ (target.closest("a[href^='#']"));
    if (link && link.hash === location.hash) open(place, model); // again: the address does not change
  });
  open(place, model);
}
