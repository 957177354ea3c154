// The server's API: requests with the key, streams of events, and what went wrong.
const KEY = "edgellm.key";

// `word` names the sentence to show; `detail` is what the server said itself.
class Fault extends Error {
  constructor(word, { status = 0, detail = "", seconds = "" } = {}) {
    super(detail || word);
    Object.assign(this, { word, status, detail, seconds });
  }
}

const BY_CODE = {
  context_length_exceeded: "fault_long", queue_full: "fault_busy", model_not_found: "fault_model",
  engine_dead: "fault_down", engine_restarting: "fault_down", engine_failed: "fault_server", no_memory: "fault_busy",
  time_limit_exceeded: "fault_late",
};
const BY_STATUS = {
  400: "fault_setting", 401: "fault_key", 403: "fault_forbidden", 404: "fault_model", 408: "fault_late",
  413: "fault_large", 422: "fault_setting", 429: "fault_busy", 503: "fault_down", 504: "fault_late",
};

function faultOf(body, status = 0, seconds = "") {
  const { code, message: detail = "" } = body?.error ?? {};
  return new Fault(BY_CODE[code] ?? BY_STATUS[status] ?? "fault_server", { status, detail, seconds });
}

// What is not a fault already is one of this page or of what it was sent.
const faultFrom = error => error instanceof Fault ? error : new Fault("fault_broken", { detail: String(error) });

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault("fault_network");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw faultOf(body, response.status, response.headers.get("Retry-After") ?? "");
}

// The records of a streamed answer, one after the other, until the server says that it is complete.
async function* records(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Fault("fault_broken");
    }
    if (piece.done) throw new Fault("fault_broken");
    const lines = (rest + piece.value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const record = JSON.parse(data);
      if (record.error) throw faultOf(record);
      yield record;
    }
  }
}
