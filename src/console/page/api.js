// Speaks to the process. The token is kept in this variable alone.

let token = "";
let asking = null;
const dialog = () => document.getElementById("ask");

export const hasToken = () => token !== "";

/** What the process answers instead of what was asked. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Asks for the token; resolves to whether one was given. All who ask at once wait for the same dialog. */
export function askToken(why) {
  asking ??= new Promise((resolve) => {
    const [form, input] = [document.getElementById("ask-form"), document.getElementById("ask-token")];
    const before = document.activeElement;
    const done = (given) => {
      if (!asking) return;
      asking = null;
      if (given) token = input.value.trim();
      input.value = "";
      if (dialog().open) dialog().close();
      before?.focus?.();
      resolve(given && token !== "");
    };
    document.getElementById("ask-why").textContent = why;
    form.onsubmit = (event) => {
      event.preventDefault();
      done(true);
    };
    document.getElementById("ask-cancel").onclick = () => done(false);
    dialog().onclose = () => done(false);
    dialog().showModal();
    input.focus();
  });
  return asking;
}

async function send(path, options) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.status === 401) {
    const why = token ? "The process does not take this token." : "This process shows itself to those with its management_token.";
    token = "";
    if (await askToken(why)) return send(path, options);
  }
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer;
}

async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text || `the process answers ${answer.status}`;
  }
}

export async function get(path, signal) {
  return (await send(path, { signal })).json();
}

/** Changes something: with the token, which is asked for once. */
export async function post(path, body) {
  const order = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) };
  if (!token && !(await askToken("Whatever changes something needs the management_token."))) {
    throw new Refused(401, "without the token nothing is changed");
  }
  return (await send(path, order)).json();
}

/** Hears what happens until the connection ends, then tries again. `EventSource` cannot send the token. */
export async function listen({ opened, heard, lost }) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 5000)) {
    try {
      const answer = await send("/api/live", {});
      await opened();
      wait = 500;
      await read(answer.body, heard);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) await nextToken();
    }
    lost();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Resolves when a token is there. */
async function nextToken() {
  while (!token) await new Promise((resolve) => setTimeout(resolve, 300));
}

/** Longer than any pause of the process, which tells of itself every second. */
const SILENCE = 6000;

async function read(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let timer;
    const silent = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("silence")), SILENCE)));
    let part;
    try {
      part = await Promise.race([reader.read(), silent]);
    } catch (error) {
      reader.cancel().catch(() => {});
      throw error;
    } finally {
      clearTimeout(timer);
    }
    if (part.done) return;
    text += part.value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const lines = text.slice(0, end).split("\n");
      const of = (name) => lines.find((line) => line.startsWith(name))?.slice(name.length);
      const data = of("data: ");
      if (data) heard(of("event: "), JSON.parse(data));
    }
  }
}
