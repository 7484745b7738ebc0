// Run by pdf.py in a page whose widgets are drawn: what to print of it, as
// [title, HTML that needs no script and whose ids are the page's own, styles that scripts brought].
(/** @type {[string, string[], string]} */ [name, pages, site]) => {
  const article = /** @type {HTMLElement} */ (document.querySelector("article"));
  const address = `${site}book/${name}.html`;
  const own = `#${name}--`;
  for (const canvas of article.querySelectorAll("canvas")) {
    const times = Math.max(1, Math.round(600 / canvas.width)); // or a viewer would blur the few pixels
    const big = document.createElement("canvas");
    const pen = /** @type {CanvasRenderingContext2D} */ (big.getContext("2d"));
    Object.assign(big, { width: canvas.width * times, height: canvas.height * times });
    pen.imageSmoothingEnabled = false;
    pen.drawImage(canvas, 0, 0, big.width, big.height);
    const picture = Object.assign(new Image(), { src: big.toDataURL(), className: canvas.className });
    const { width, height } = canvas.getBoundingClientRect();
    Object.assign(picture.style, { width: `${width}px`, height: `${height}px` });
    picture.alt = canvas.getAttribute("aria-label") ?? "";
    canvas.replaceWith(picture);
  }
  for (const area of article.querySelectorAll(".widget-area"))
    area.insertAdjacentHTML("beforeend", `<p class="alive">To be moved at <a href="${address}">${address}</a></p>`);
  const online = "script, .headerlink, .copybtn, .toggle-button, mjx-assistive-mml, details.hide > summary";
  for (const e of article.querySelectorAll(online)) e.remove();
  for (const e of article.querySelectorAll("details")) e.open = true;
  for (const e of article.querySelectorAll(".toggle-hidden")) e.classList.remove("toggle-hidden");
  for (const e of article.querySelectorAll("details.hide")) e.replaceWith(...e.childNodes);

  for (const e of article.querySelectorAll("*"))
    for (const { name: key, value } of [...e.attributes]) {
      if (key === "id") e.id = own.slice(1) + value;
      else if (key.endsWith("href"))
        e.setAttribute(key, e instanceof HTMLAnchorElement ? there(e) : value.replace(/^#/, own));
      else if (value.includes("url(#")) e.setAttribute(key, value.replaceAll("url(#", `url(${own}`));
      else if (key === "src") e.setAttribute(key, new URL(value, document.baseURI).href); // whole, not relative
    }

  /** Where a link leads in the printed book, or on the site. @param {HTMLAnchorElement} link */
  function there({ href }) {
    const here = new URL(".", location.href).href;
    if (!href.startsWith(here)) return href;
    const [file, id] = href.slice(here.length).split("#");
    const page = file.replace(/[.]html$/, "");
    if (!pages.includes(page)) return `${site}book/${href.slice(here.length)}`;
    return id ? `#${page}--${id}` : `#${page}`;
  }

  const sheets = /** @type {NodeListOf<HTMLStyleElement>} */ (document.querySelectorAll("head > style"));
  const styles = Array.from(sheets, ({ sheet }) =>
    Array.from(sheet?.cssRules ?? [], (rule) => rule.cssText).join("\n"),
  );
  return [article.querySelector("h1")?.textContent.trim(), article.innerHTML, styles];
};
