import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkEndpoint, complete, deltaOf, EndpointError, hidden, hider, requestOf } from "../../demo/endpoint.js";

const key = "sk-very-secret-0123456789";

describe("an endpoint's settings", () => {
  const check = (url: string, model = "m", secret = key) => checkEndpoint({ url, model, key: secret });

  it("are taken with the URL as it is called", () => {
    expect(check(" https://api.example.com/v1/ ")).toEqual({ url: "https://api.example.com/v1", model: "m", key });
    expect(check("https://api.example.com/v1/chat/completions")).toMatchObject({ url: "https://api.example.com/v1" });
    expect(check("http://localhost:11434/v1", "m", "")).toMatchObject({ key: "" });
    expect(check("http://127.0.0.1:1234")).toMatchObject({ url: "http://127.0.0.1:1234" });
  });

  it.each([
    ["api.example.com", "not complete"],
    ["http://api.example.com/v1", "https://"],
    ["ftp://localhost/", "https://"],
    ["https://me:pass@api.example.com", "name or password"],
    ["https://api.example.com/v1?key=x", "before any"],
  ])("refuse %s", (url, reason) => {
    expect(check(url)).toContain(reason);
  });

  it("refuse a missing model and a key that no header can carry", () => {
    expect(check("https://a.example", " ")).toContain("model");
    expect(check("https://a.example", "m", "two words")).toContain("space");
    expect(check("https://a.example", "m", "schlüssel-0")).toContain("space");
  });
});

describe("a request", () => {
  it("carries the key in one header and nothing of the browser's", () => {
    const messages = [{ role: "user" as const, content: "Hello" }];
    const [url, init] = requestOf({ url: "https://a.example/v1", model: "m", key }, messages);
    expect(url).toBe("https://a.example/v1/chat/completions");
    expect(init).toMatchObject({ method: "POST", credentials: "omit", referrerPolicy: "no-referrer", redirect: "error" });
    expect(init.headers).toEqual({
      "content-type": "application/json",
      accept: "text/event-stream",
      authorization: `Bearer ${key}`,
    });
    expect(JSON.parse(String(init.body))).toEqual({ model: "m", stream: true, messages });
  });

  it("has no such header without a key", () => {
    const [, init] = requestOf({ url: "https://a.example", model: "m", key: "" }, []);
    expect(init.headers).not.toHaveProperty("authorization");
  });
});

describe("what an endpoint says", () => {
  it("is read event by event", () => {
    expect(deltaOf('{"choices":[{"delta":{"content":"Hi"},"finish_reason":null}]}')).toEqual({ text: "Hi", last: false });
    expect(deltaOf('{"choices":[{"delta":{},"finish_reason":"stop"}]}')).toEqual({ text: "", last: true });
    expect(deltaOf('{"choices":[]}')).toEqual({ text: "", last: false });
    expect(deltaOf("null")).toEqual({ text: "", last: false });
    expect(deltaOf("[DONE]")).toEqual({ text: "", last: true });
    expect(() => deltaOf("<html>")).toThrow("not JSON");
    expect(() => deltaOf('{"error":{"message":"too much"}}')).toThrow("too much");
  });

  it("never shows the key, wherever the text is cut", () => {
    const text = `a ${key} b ${key.slice(0, 9)} c ${key}`;
    const clean = `a [key] b ${key.slice(0, 9)} c [key]`;
    expect(hidden(text, key)).toBe(clean);
    for (let at = 0; at <= text.length; at++) {
      const hide = hider(key);
      const pieces = [hide.push(text.slice(0, at)), hide.push(text.slice(at)), hide.rest()];
      expect(pieces.join("")).toBe(clean);
    }
    const hide = hider(key);
    const signs = [...text].map((sign) => hide.push(sign));
    expect([...signs, hide.rest()].join("")).toBe(clean);
  });

  it("is fit to be stored, in pieces too", () => {
    const hide = hider("");
    expect([hide.push("a\uD83D"), hide.push("\uDE00"), hide.push("b\uD83D"), hide.rest()]).toEqual(["a", "😀", "b", "\uFFFD"]);
  });
});

describe("a call", () => {
  let server: Server;
  let url: string;
  let headers: IncomingHttpHeaders;
  let reply: (response: ServerResponse) => void;

  beforeEach(async () => {
    server = createServer((request, response) => {
      headers = request.headers;
      request.resume().on("end", () => reply(response));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  });

  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const call = (signal = new AbortController().signal) => complete({ url, model: "m", key }, [], signal);
  const delta = (content: string) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;
  const stream = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  const collect = async () => {
    let text = "";
    for await (const piece of call()) text += piece;
    return text;
  };

  it("brings the answer", async () => {
    reply = (response) => stream(response).end(`${delta("Über")}${delta(" all")}data: [DONE]\n\n`);
    expect(await collect()).toBe("Über all");
    expect(headers.authorization).toBe(`Bearer ${key}`);
  });

  it.each<[string, (response: ServerResponse) => void, string]>([
    ["a refusal", (r) => r.writeHead(401).end(`{"error":{"message":"Bad key ${key}"}}`), "it answered 401: Bad key [key]"],
    [
      "a page instead of a stream",
      (r) => r.writeHead(200, { "content-type": "text/html" }).end("<p>"),
      "no event stream|did not",
    ],
    ["an end without an end", (r) => stream(r).end(delta("half")), "its answer broke off"],
    ["a cut connection", (r) => void stream(r).write(delta("half"), () => r.destroy()), "cannot be reached"],
    ["a redirect", (r) => r.writeHead(307, { location: "/elsewhere" }).end(), "cannot be reached"],
  ])("ends in an error that names the host and not the key: %s", async (_, answer, reason) => {
    reply = answer;
    const error = await collect().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(EndpointError);
    expect(String(error)).toMatch(new RegExp(reason.replaceAll("[key]", "\\[key\\]")));
    expect(String(error)).toContain(new URL(url).host);
    expect(String(error)).not.toContain(key);
  });

  it("ends with its signal's reason, and so does the request", async () => {
    const abort = new AbortController();
    const closed = new Promise<void>((resolve) => {
      reply = (response) => {
        response.on("close", resolve);
        stream(response).write(delta("half"));
      };
    });
    const pieces = call(abort.signal);
    expect(await pieces.next()).toEqual({ done: false, value: "half" });
    const reason = new Error("lost");
    abort.abort(reason);
    await expect(pieces.next()).rejects.toBe(reason);
    await closed;
  });
});
