// What a reader of the open page sees, measured in the page itself. One function, called with nothing.
() => {
  const rgba = text => text.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = element => {  // what is painted behind: body's background is the page's
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return rgba(getComputedStyle(document.body).backgroundColor);
  };
  const seen = element => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && box.width > 1 && box.height > 1;
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !seen(element) || element.closest("title, desc, legend")) continue;
    const style = getComputedStyle(element);
    const svg = element.closest("svg");
    const [light, dark] = [luminance(rgba(svg ? style.fill : style.color)), luminance(ground(element))].sort((a, b) => b - a);
    texts.push({
      text, svg: Boolean(svg), lang: element.closest("[lang]").lang, quoted: Boolean(element.closest(".talk dd")),
      pixels: parseFloat(style.fontSize) * (svg ? element.getScreenCTM().a : 1), contrast: (light + 0.05) / (dark + 0.05),
    });
  }
  const cut = [...document.body.querySelectorAll("*")].filter(e => !e.closest("svg, legend") && seen(e)
    && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible");
  const outside = [...document.body.querySelectorAll("svg text")].filter(seen).filter(t => {
    const [box, frame] = [t.getBoundingClientRect(), t.closest("svg").getBoundingClientRect()];
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1;
  });
  return {
    width: document.documentElement.scrollWidth,
    texts,
    broken: [...document.querySelectorAll("td data, td b span, thead span")].filter(e => seen(e)
      && !e.textContent.includes(" ") && e.getClientRects().length > 1).map(e => e.textContent),
    cut: cut.map(e => e.className || e.tagName),
    outside: outside.map(t => t.textContent),
    boxes: [...document.querySelectorAll(".scroll")].map(e => ({
      scrolls: e.scrollWidth > e.clientWidth, hint: seen(e.previousElementSibling) && e.previousElementSibling.innerText,
      role: e.getAttribute("role"), tab: e.tabIndex,
      name: document.getElementById(e.getAttribute("aria-labelledby")).innerText,
    })),
    headings: [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(h => Number(h.tagName[1])),
    tables: Object.fromEntries([...document.querySelectorAll("table[id]")].map(t =>
      [t.id, [...t.tBodies[0].rows].map(r => [...r.cells].map(c => c.innerText))])),
    headless: [...document.querySelectorAll("table")].filter(t =>
      [...t.tHead.rows[0].cells].some(c => c.tagName !== "TH" || c.scope !== "col" || !c.innerText.trim())
      || [...t.tBodies].some(b => [...b.rows].some(r => r.cells[0].tagName !== "TH" || r.cells[0].scope !== "row"))).length,
    text: document.body.innerText,
  };
}
