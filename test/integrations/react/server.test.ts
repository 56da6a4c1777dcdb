import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { describe, expect, it } from "vitest";
import { createKernel, type Kernel } from "../../../src/index.js";
import { memoryStorage } from "../../../src/memory.js";
import { HoldfastProvider, useHosts, useProcess, useProcesses, useSession, useSessions } from "../../../src/react.js";
import { rounds } from "../../kernel/rounds.js";
import { probe } from "../../stores/probe-storage.js";

function Page() {
  const { status, messages, waiting } = useSession("s");
  const { record, live } = useProcess("p");
  const lists = [messages, live, useSessions(), useProcesses({ state: "running" }), useHosts()].map(({ length }) => length);
  return createElement("p", null, JSON.stringify([status, waiting, record ?? null, lists]));
}

const page = (kernel: Kernel | Promise<Kernel>) => createElement(HoldfastProvider, { kernel }, createElement(Page));
const FIRST = "<p>[&quot;loading&quot;,0,null,[0,0,0,0,0]]</p>";

describe("on a server", () => {
  it("a page is rendered as it is before anything is read, and nothing is read for it (X-1)", async () => {
    const probed = probe(memoryStorage());
    const kernel = await createKernel({ name: "server", storage: probed.storage, loop: "off", channel: false, locks: false });
    await kernel.session("s");
    await rounds();
    const { length } = probed.seen;
    expect(renderToString(page(kernel))).toBe(FIRST);
    await rounds();
    expect(probed.seen.length).toBe(length);
    await kernel.close();
  });

  it("a page is rendered without any kernel (X-1)", () => {
    expect(renderToString(page(new Promise(() => {})))).toBe(FIRST);
  });
});
