// How the page talks to its server: the token, requests, events, pictures by their number.

const KEY = "dfprompt-token";

const given = /token=([\w-]+)/.exec(location.hash);
if (given) {
  localStorage.setItem(KEY, given[1]);
  history.replaceState(null, "", location.pathname);
}
const headers = () => ({ "x-dfprompt-token": localStorage.getItem(KEY) || "" });

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.error = error;
  }
}

async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    throw new Refused(0, { message: "The studio's server does not answer. Is it still running?" });
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Refused(response.status, answer.error || { message: `the server said ${response.status}` });
  }
  return response;
}

export async function call(path, body, method) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  if (body instanceof Blob) options.body = body;
  if (method) options.method = method;
  return (await send(path, options)).json();
}

// Server-sent events by fetch, because EventSource sends no header. Comes back by itself.
export async function listen(onEvent, onState) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
    try {
      const reader = (await send("/api/events")).body.pipeThrough(new TextDecoderStream()).getReader();
      onState(true);
      wait = 500;
      for (let text = ""; ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        const parts = (text + value).split("\n\n");
        text = parts.pop();
        for (const part of parts) if (part.startsWith("data: ")) onEvent(JSON.parse(part.slice(6)));
      }
    } catch (error) {
      onState(false, error.status === 403 ? error : null);
      if (error.status === 403) return;
    }
    onState(false);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

// A picture's address for <img>: fetched with the token, kept while the page is open.
const MOST = 600;
const pictures = new Map();
export const picture = (id) => fetched(`/api/pictures/${id}`);
export const stripOf = ({ drawing, label, seed }) => fetched(`/api/strip?${new URLSearchParams({ drawing, label, seed })}`);

function fetched(id) {
  if (!pictures.has(id)) {
    pictures.set(id, send(id).then((answer) => answer.blob()).then(URL.createObjectURL));
    pictures.get(id).catch(() => pictures.delete(id));
    if (pictures.size > MOST) {
      const [oldest, address] = pictures.entries().next().value;
      pictures.delete(oldest);
      address.then(URL.revokeObjectURL, () => {});
    }
  }
  return pictures.get(id);
}
