// Markdown to elements: paragraphs, headings, lists, tables, rules, code, bold. Text only ever becomes text nodes, so
// nothing that a model writes can become markup, a link or a picture.
const ITEM = /^(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;
const FENCE = /^\s*(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^\s*([-*_])(\s*\1){2,}\s*$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*$/;

// A text as a list of blocks, plain values, so that two of them can be compared.
function blocksOf(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const fence = lines[at].match(FENCE);
    if (!lines[at].trim()) at += 1;
    else if (fence) {
      const end = lines.findIndex((line, i) => i > at && line.trim().startsWith(fence[1]));
      const stop = end < 0 ? lines.length : end;
      blocks.push({ kind: "code", language: fence[2], text: lines.slice(at + 1, stop).join("\n") });
      at = stop + 1;
    } else if (RULE.test(lines[at])) {
      blocks.push({ kind: "rule" });
      at += 1;
    } else if (HEADING.test(lines[at])) {
      const [, marks, title] = lines[at].match(HEADING);
      blocks.push({ kind: "heading", level: marks.length, text: title });
      at += 1;
    } else if (lines[at].includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) {
      const stop = runEnd(lines, at, line => line.includes("|"));
      const rows = lines.slice(at, stop).filter((_, i) => i !== 1).map(cellsOf);
      blocks.push({ kind: "table", rows });
      at = stop;
    } else if (ITEM.test(lines[at])) {
      const stop = runEnd(lines, at, line => ITEM.test(line) || (/^\s+\S/.test(line) && !FENCE.test(line)));
      blocks.push({ kind: "list", items: itemsOf(lines.slice(at, stop)) });
      at = stop;
    } else {
      const stop = runEnd(lines, at, line => line.trim() && ![FENCE, HEADING, ITEM, RULE].some(mark => mark.test(line)));
      blocks.push({ kind: "paragraph", text: lines.slice(at, stop).join("\n") });
      at = stop;
    }
  }
  return blocks;
}

function runEnd(lines, begin, belongs) {
  const length = lines.slice(begin + 1).findIndex(line => !belongs(line));
  return length < 0 ? lines.length : begin + 1 + length;
}

const cellsOf = line => line.trim().replace(/^\||\|$/g, "").split("|").map(cell => cell.trim());

function itemsOf(lines) {
  const items = [];
  for (const line of lines) {
    const found = line.match(ITEM);
    if (found) items.push({ indent: found[1].length, number: found[3] ? Number(found[3]) : null, text: found[4] });
    else items.at(-1).text += `\n${line.trim()}`;
  }
  return items;
}

// Change only the elements of blocks that changed, so that what a reader has selected above stays selected.
function renderMarkdown(parent, text) {
  const blocks = blocksOf(text);
  const sources = blocks.map(block => JSON.stringify(block));
  const before = parent.sources ?? [];
  const same = sources.findIndex((source, i) => source !== before[i]);
  const keep = same < 0 ? sources.length : same;
  while (parent.childNodes.length > keep) parent.lastChild.remove();
  parent.append(...blocks.slice(keep).map(elementOf));
  parent.sources = sources;
}

function elementOf(block) {
  if (block.kind === "rule") return document.createElement("hr");
  if (block.kind === "heading") return written(`h${Math.min(6, block.level + 2)}`, block.text);
  if (block.kind === "paragraph") return written("p", block.text);
  if (block.kind === "list") return listOf(block.items);
  if (block.kind === "table") return tableOf(block.rows);
  const code = document.createElement("pre");
  code.tabIndex = 0;  // wide code scrolls, by the keyboard as well
  code.append(document.createElement("code"));
  code.firstChild.textContent = block.text;
  return code;
}

function written(name, text) {
  const element = document.createElement(name);
  for (const part of text.split(/(\*\*[^*\n]+\*\*|`[^`\n]+`)/)) {
    if (/^\*\*.+\*\*$/.test(part)) element.append(written("strong", part.slice(2, -2)));
    else if (/^`.+`$/.test(part)) {
      const code = document.createElement("code");
      code.textContent = part.slice(1, -1);
      element.append(code);
    } else element.append(part);
  }
  return element;
}

// Items nest by how far they are indented.
function listOf(items) {
  const begin = ({ indent, number }) => {
    const list = document.createElement(number === null ? "ul" : "ol");
    if (number !== null && number !== 1) list.start = number;
    return { list, indent };
  };
  const open = [begin(items[0])];
  for (const item of items) {
    while (open.length > 1 && item.indent < open.at(-1).indent) open.pop();
    if (item.indent > open.at(-1).indent + 1 && open.at(-1).list.lastChild) {
      const inner = begin(item);
      open.at(-1).list.lastChild.append(inner.list);
      open.push(inner);
    }
    open.at(-1).list.append(written("li", item.text));
  }
  return open[0].list;
}

function tableOf(rows) {
  const scroll = document.createElement("div");
  scroll.className = "wide";
  scroll.tabIndex = 0;
  const table = scroll.appendChild(document.createElement("table"));
  for (const [i, row] of rows.entries()) {
    const line = (i ? table.tBodies[0] ?? table.createTBody() : table.createTHead()).insertRow();
    for (const cell of row) line.append(written(i ? "td" : "th", cell));
  }
  return scroll;
}
