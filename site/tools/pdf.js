// Run by pdf.py in a page whose equations are set and whose widgets are drawn: what to print of it, as
// [title, HTML that needs no script and whose ids are the page's own, styles that scripts brought].
([name, pages, site]) => {
  const article = document.querySelector("article");
  const address = `${site}book/${name}.html`;
  const own = `#${name}--`;
  for (const canvas of article.querySelectorAll("canvas")) {
    const times = Math.max(1, Math.round(600 / canvas.width)); // or a viewer would blur the few pixels
    const big = document.createElement("canvas");
    const pen = big.getContext("2d");
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
  article.querySelectorAll(online).forEach((e) => e.remove());
  article.querySelectorAll("details").forEach((e) => (e.open = true));
  article.querySelectorAll(".toggle-hidden").forEach((e) => e.classList.remove("toggle-hidden"));
  article.querySelectorAll("details.hide").forEach((e) => e.replaceWith(...e.childNodes));

  for (const e of article.querySelectorAll("*"))
    for (const { name: key, value } of [...e.attributes]) {
      if (key === "id") e.id = own.slice(1) + value;
      else if (key.endsWith("href")) e.setAttribute(key, e.tagName === "A" ? there(e) : value.replace(/^#/, own));
      else if (value.includes("url(#")) e.setAttribute(key, value.replaceAll("url(#", `url(${own}`));
      else if (key === "src") e.src = e.src; // whole, not relative
    }

  /** Where a link leads in the printed book, or on the site. @param {HTMLAnchorElement} link */
  function there({ href }) {
    const here = new URL(".", location).href;
    if (!href.startsWith(here)) return href;
    const [file, id] = href.slice(here.length).split("#");
    const page = file.replace(/[.]html$/, "");
    if (!pages.includes(page)) return `${site}book/${href.slice(here.length)}`;
    return id ? `#${page}--${id}` : `#${page}`;
  }

  const rules = (/** @type {HTMLStyleElement} */ { sheet }) =>
    [...sheet.cssRules].map((rule) => rule.cssText).join("\n");
  const styles = [...document.querySelectorAll("head > style")].map(rules); // MathJax adds rules beside the text
  return [article.querySelector("h1").textContent.trim(), article.innerHTML, styles];
};
