// The conversation: what is asked, how the answer grows, and the few settings.
const RENDER_MS = 60;
const SENTENCE_END = /[。．！？!?\n]/g;
const at = id => document.getElementById(id);
const turns = [];  // { question, answer, article, … } of this conversation
let running = null;  // the AbortController of the answer under way

// Words, language and colours

const language = () => document.documentElement.lang;
const word = (name, data = {}) => {
  const found = WORDS[language()][name];
  return typeof found === "function" ? found(data) : found;
};

// Give an element words that follow the language; returns it.
function say(element, name, data = {}) {
  Object.assign(element.dataset, { text: name, ...data });
  element.textContent = word(name, element.dataset);
  return element;
}

function speak(code) {
  document.documentElement.lang = code;
  localStorage.setItem("edgellm.language", code);
  for (const element of document.querySelectorAll("[data-text]")) say(element, element.dataset.text);
  for (const element of document.querySelectorAll("[data-placeholder]")) element.placeholder = word(element.dataset.placeholder);
  at("language").lang = code === "ja" ? "en" : "ja";
  document.title = `${word("title")} — edgellm`;
}

function paint() {
  const chosen = at("theme").value;
  const dark = chosen === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

// The key: kept in this tab, asked for when the server wants one

async function withKey(action) {
  for (;;) {
    try {
      return await action();
    } catch (fault) {
      const refused = sessionStorage.getItem(KEY) !== null;
      if (fault.status !== 401 || !await keyEntered(refused ? "keyWrong" : "keyNeeded")) throw fault;
    }
  }
}

function keyEntered(why) {
  const dialog = at("key-dialog"), input = at("key");
  say(at("key-why"), why);
  input.value = dialog.returnValue = "";
  dialog.showModal();
  return new Promise(resolve => dialog.addEventListener("close", () => resolve(dialog.returnValue === "key"), { once: true }));
}

function takeKey(event) {
  event.preventDefault();
  const key = at("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) {  // no header can carry it
    say(at("key-why"), "keyWrong");
    return at("key").select();
  }
  sessionStorage.setItem(KEY, key);
  at("key").value = "";
  at("key-dialog").close("key");
}

async function loadModels() {
  at("start-fault").replaceChildren();
  const { data } = await withKey(async () => (await ask("v1/models")).json());
  const select = at("model"), before = select.value;
  select.replaceChildren(...data.map(({ id }) => new Option(id, id)));
  if (data.some(({ id }) => id === before)) select.value = before;
}

// One question and its answer

function make(parent, name, className) {
  const element = parent.appendChild(document.createElement(name));
  if (className) element.className = className;
  return element;
}

function begin(question) {
  const article = make(at("conversation"), "article");
  say(make(article, "h2"), "question");
  make(article, "div", "question").textContent = question;
  const heading = say(make(article, "h2"), "answer");
  const answer = make(article, "div", "answer");
  const reasoning = make(answer, "details", "reasoning");
  reasoning.hidden = true;
  say(make(reasoning, "summary"), "reasoning");
  const turn = {
    question, answer: "", reasoning: "", shown: 0, article, heading, fold: reasoning,
    thought: make(reasoning, "div"), text: make(answer, "div", "text"), note: make(answer, "div", "note"),
  };
  turns.push(turn);
  at("welcome").hidden = true;
  return turn;
}

function conversation(turn) {
  const messages = [];
  const system = at("system").value.trim();
  if (system) messages.push({ role: "system", content: system });
  for (const each of turns) {
    if (each !== turn && !each.answer) continue;  // what was never answered is no part of the conversation
    messages.push({ role: "user", content: each.question });
    if (each !== turn) messages.push({ role: "assistant", content: each.answer });
  }
  return messages;
}

async function receive(turn, signal) {
  const model = at("model").value;
  const body = { model, messages: conversation(turn), stream: true, stream_options: { include_usage: true } };
  if (at("temperature").value !== "") body.temperature = at("temperature").valueAsNumber;
  if (at("max-tokens").value !== "") body.max_tokens = at("max-tokens").valueAsNumber;
  const begun = performance.now();
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  const response = await ask("v1/chat/completions", post);
  say(turn.heading, "answer", { model });
  for await (const { choices: [choice], usage } of records(response)) {
    turn.reasoning += choice?.delta.reasoning_content ?? "";
    turn.answer += choice?.delta.content ?? "";
    turn.cutShort ||= choice?.finish_reason === "length";
    turn.tokens = usage?.completion_tokens ?? turn.tokens;
    turn.timer ??= setTimeout(atTheEnd, RENDER_MS, show, turn);
  }
  turn.seconds = ((performance.now() - begun) / 1000).toFixed(1);
}

// Put on screen what has come, and read finished sentences to those who listen.
function show(turn, complete = false) {
  clearTimeout(turn.timer);
  turn.timer = null;
  if (!turn.article.isConnected) return;  // a new conversation has begun meanwhile
  turn.fold.hidden = !turn.reasoning;
  if (turn.thought.textContent !== turn.reasoning) turn.thought.textContent = turn.reasoning;
  renderMarkdown(turn.text, turn.answer);
  turn.note.replaceChildren();
  if (!turn.answer && !complete) say(make(turn.note, "p"), turn.reasoning ? "thinking" : "waiting");
  const ends = [...turn.answer.matchAll(SENTENCE_END)].map(end => end.index + 1);
  const end = complete ? turn.answer.length : ends.at(-1) ?? 0;
  if (end > turn.shown) make(at("spoken"), "p").textContent = turn.answer.slice(turn.shown, end);
  turn.shown = Math.max(turn.shown, end);
}

// Who reads the end of the page keeps seeing it while it grows.
function atTheEnd(change, ...args) {
  const page = document.documentElement, low = innerHeight + scrollY >= page.scrollHeight - 80;
  change(...args);
  if (low) scrollTo(0, page.scrollHeight);
}

async function answer(turn) {
  running = new AbortController();
  say(at("send"), "stop");
  turn.article.setAttribute("aria-busy", "true");
  at("spoken").replaceChildren();
  let note = "";
  try {
    if (!at("model").value) await loadModels();
    show(turn);
    await withKey(() => receive(turn, running.signal));
    note = turn.cutShort ? "cutShort" : "";
  } catch (fault) {
    note = fault.name === "AbortError" ? "stopped" : faultFrom(fault);
  }
  running = null;
  say(at("send"), "send");
  turn.article.removeAttribute("aria-busy");
  atTheEnd(finish, turn, note);
}

// The last words below an answer: why it ended, what it took, and what may be done with it.
function finish(turn, note) {
  show(turn, true);
  if (note instanceof Fault) explain(turn.note, note, () => retry(turn));
  else if (note) say(make(turn.note, "p"), note);
  say(at("status"), note.word ?? (note || "finished"), { seconds: note.seconds ?? "" });
  if (!turn.answer) return;
  const actions = make(turn.note, "div", "actions");
  const copy = say(make(actions, "button"), "copy");
  copy.type = "button";
  copy.addEventListener("click", () => copyText(turn.answer, copy));
  if (turn.tokens) say(make(actions, "span"), "facts", { tokens: turn.tokens, seconds: turn.seconds });
}

function explain(parent, fault, again) {
  const box = make(parent, "div", "fault");
  say(make(box, "p"), fault.word, { seconds: fault.seconds });
  if (fault.detail) Object.assign(make(box, "p", "detail"), { lang: "en", textContent: fault.detail });
  const button = say(make(box, "button"), "retry");
  button.type = "button";
  button.addEventListener("click", again);
}

function retry(turn) {
  if (running) return;
  turns.splice(turns.indexOf(turn), 1);
  turn.article.remove();
  answer(begin(turn.question));
  at("question").focus();
}

async function copyText(text, button) {
  let done = true;
  if (navigator.clipboard) await navigator.clipboard.writeText(text).catch(() => { done = false; });
  else done = copiedBySelection(text);
  say(button, done ? "copied" : "copyFailed");
  say(at("status"), done ? "copied" : "copyFailed");
  setTimeout(() => say(button, "copy"), 2000);
}

// Browsers give no clipboard to pages that come over plain HTTP from another machine.
function copiedBySelection(text) {
  const before = document.activeElement;
  const field = Object.assign(make(document.body, "textarea", "unseen"), { value: text });
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  return done;
}

// What people do

function send() {
  const question = at("question").value.trim();
  if (running || !question) return;
  const wrong = ["temperature", "max-tokens"].map(at).find(input => !input.checkValidity());
  if (wrong) {
    at("settings").open = true;
    wrong.reportValidity();
    return;
  }
  at("question").value = "";
  answer(begin(question));
  scrollTo(0, document.documentElement.scrollHeight);
}

function pressed(event) {
  // Enter and Escape that belong to an input method choose or drop its candidates. (229: Safari's way to say so.)
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey && event.target === at("question")) {
    event.preventDefault();
    send();
  }
  if (event.key !== "Escape" || at("key-dialog").open) return;
  if (running) running.abort();
  else if (at("settings").open) {
    at("settings").open = false;
    at("settings").firstElementChild.focus();
  }
}

function startAfresh() {
  running?.abort();
  turns.length = 0;
  at("conversation").replaceChildren();
  at("spoken").replaceChildren();
  at("welcome").hidden = false;
  at("question").focus();
}

async function start() {
  try {
    await loadModels();
  } catch (fault) {
    explain(at("start-fault"), faultFrom(fault), start);
  }
}

// The second click of a double click on "send" shall not stop the answer.
at("send").addEventListener("click", event => running ? event.detail < 2 && running.abort() : send());
document.addEventListener("keydown", pressed);
document.addEventListener("click", event => { if (!event.target.closest("#settings")) at("settings").open = false; });
at("fresh").addEventListener("click", startAfresh);
at("language").addEventListener("click", () => speak(language() === "ja" ? "en" : "ja"));
at("theme").addEventListener("change", () => { localStorage.setItem("edgellm.theme", at("theme").value); paint(); });
at("change-key").addEventListener("click", async () => { if (await keyEntered("keyNeeded")) start(); });
at("key-dialog").addEventListener("submit", takeKey);
at("key-cancel").addEventListener("click", () => at("key-dialog").close(""));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

at("theme").value = localStorage.getItem("edgellm.theme") ?? "auto";
paint();
speak(localStorage.getItem("edgellm.language") ?? "ja");
start();
