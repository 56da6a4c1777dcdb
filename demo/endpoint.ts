// A chat endpoint with OpenAI's protocol. Its key goes into one request header and nowhere else: the key is removed from the
// endpoint's answers before they are used.
import { eventStream } from "./sse.js";

export interface Endpoint {
  /** No slash at the end. */
  readonly url: string;
  readonly model: string;
  /** Empty for an endpoint without a key. */
  readonly key: string;
}

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** The reason why an attempt failed, in words without a secret. */
export class EndpointError extends Error {}

/** An attempt ends after a silence of this length. */
const patienceMs = 60_000;
const longestReason = 300;

/** The endpoint in its normal form, or a text that says what is wrong with it. */
export function checkEndpoint(given: Endpoint): Endpoint | string {
  const model = given.model.trim();
  const key = given.key.trim();
  let url: URL;
  try {
    url = new URL(given.url.trim());
  } catch {
    return "The URL is not complete. It looks like https://api.example.com/v1";
  }
  const isLocal = url.protocol === "http:" && (url.hostname === "localhost" || url.hostname === "127.0.0.1");
  if (url.protocol !== "https:" && !isLocal) return "The URL must begin with https://, or with http://localhost on this machine.";
  if (url.username || url.password) return "The URL must hold no name or password. The key has a field of its own.";
  if (url.search || url.hash) return "The URL must end before any ? or #.";
  if (model === "") return "The model's name is missing.";
  if (!/^[\x21-\x7e]*$/.test(key)) return "The key holds a space or a sign that no key has.";
  return { url: url.href.replace(/\/+$/, "").replace(/\/chat\/completions$/, ""), model, key };
}

export function hostOf({ url }: Pick<Endpoint, "url">): string {
  return new URL(url).host;
}

export function requestOf({ url, model, key }: Endpoint, messages: readonly ChatMessage[]): [url: string, init: RequestInit] {
  return [
    `${url}/chat/completions`,
    {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "text/event-stream",
        ...(key !== "" && { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify({ model, stream: true, messages }),
      // The request carries no cookies, and the key reaches only the endpoint that it was entered for.
      credentials: "omit",
      referrerPolicy: "no-referrer",
      redirect: "error",
      cache: "no-store",
    },
  ];
}

/** The answer, piece by piece. Throws an EndpointError, or the reason of `signal`. */
export async function* complete(
  endpoint: Endpoint,
  messages: readonly ChatMessage[],
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const abort = new AbortController();
  const stop = () => abort.abort(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const waitOn = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(new EndpointError("it said nothing for a minute")), patienceMs);
  };
  const hide = hider(endpoint.key);
  try {
    waitOn();
    const [url, init] = requestOf(endpoint, messages);
    const response = await fetch(url, { ...init, signal: abort.signal });
    if (!response.ok) throw new EndpointError(`it answered ${response.status}${reasonIn(await response.text())}`);
    if (!response.body || !response.headers.get("content-type")?.includes("text/event-stream"))
      throw new EndpointError("it did not answer with an event stream");
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const read = eventStream();
    let isOver = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      waitOn();
      for (const data of read(decoder.decode(value, { stream: true }))) {
        const { text, last } = deltaOf(data);
        isOver ||= last;
        const shown = hide.push(text);
        if (shown !== "") yield shown;
      }
    }
    if (!isOver) throw new EndpointError("its answer broke off");
    const shown = hide.rest();
    if (shown !== "") yield shown;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const thrown = abort.signal.aborted ? abort.signal.reason : error;
    // A browser's error says only "failed to fetch", for any reason.
    const said = thrown instanceof EndpointError ? thrown.message : "it cannot be reached, or does not let this page in (CORS)";
    throw new EndpointError(`${hostOf(endpoint)}: ${hidden(said, endpoint.key)}`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    // A caller that stops reading ends the request.
    abort.abort();
  }
}

/** The text that one event adds to the answer, and whether the answer ends with it. */
export function deltaOf(data: string): { readonly text: string; readonly last: boolean } {
  if (data.trim() === "[DONE]") return { text: "", last: true };
  let event: Partial<Record<"error" | "choices", unknown>>;
  try {
    event = JSON.parse(data);
  } catch {
    throw new EndpointError("it sent an event that is not JSON");
  }
  if (event?.error) throw new EndpointError(`it broke off${reasonIn(data)}`);
  const [choice] = Array.isArray(event?.choices) ? event.choices : [];
  const text = choice?.delta?.content;
  return { text: typeof text === "string" ? text : "", last: typeof choice?.finish_reason === "string" };
}

function reasonIn(body: string): string {
  let said: unknown = body;
  try {
    const { error, message } = JSON.parse(body);
    said = error?.message ?? error ?? message ?? body;
  } catch {
    // The data is no JSON, so it is text.
  }
  const text = (typeof said === "string" ? said : body).replace(/\s+/g, " ").trim();
  return text === "" ? "" : `: ${text}`;
}

/** A shorter key is no secret but a word, such as a local server's "none". */
const shortestKey = 8;
const mask = "[key]";

/** The text of an error without the key, shortened to be stored. */
export function hidden(text: string, key: string): string {
  const clean = key.length < shortestKey ? text : text.replaceAll(key, mask);
  return wellFormed(clean.slice(0, longestReason));
}

/** Removes the key from a text that comes in pieces. A piece that may begin the key is held back until more is known. */
export function hider(key: string): { push(piece: string): string; rest(): string } {
  let held = "";
  return {
    push(piece) {
      const text = key.length < shortestKey ? held + piece : (held + piece).replaceAll(key, mask);
      let back = /[\uD800-\uDBFF]$/.test(text) ? 1 : 0;
      if (key.length >= shortestKey) {
        for (let length = Math.min(key.length - 1, text.length); length > back; length--)
          if (text.endsWith(key.slice(0, length))) back = length;
      }
      held = text.slice(text.length - back);
      return wellFormed(text.slice(0, text.length - back));
    },
    rest() {
      const text = wellFormed(held);
      held = "";
      return text;
    },
  };
}

function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}
