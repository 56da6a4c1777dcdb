import { afterEach, describe, expect, it, vi } from "vitest";

/** A dedicated worker as far as the module can tell, and the listeners that it adds. */
async function inWorker() {
  vi.resetModules();
  const isInstance = { value: (object: unknown) => object === globalThis };
  vi.stubGlobal(
    "WorkerGlobalScope",
    Object.defineProperty(() => {}, Symbol.hasInstance, isInstance),
  );
  const listeners: unknown[] = [];
  vi.stubGlobal("addEventListener", (_: string, listener: unknown) => listeners.push(listener));
  const { serveLoop } = await import("../../src/worker.js");
  return { serveLoop, listeners };
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

const storage = { kind: "mine", open: () => Promise.reject(new Error("not opened here")) };
const refusal = (code: string, part: string) => expect.objectContaining({ code, message: expect.stringContaining(part) });

describe("serveLoop (A-31)", () => {
  it("is beside what a bare import does: the page is heard from the import on", async () => {
    const { serveLoop, listeners } = await inWorker();
    expect(listeners).toHaveLength(1);
    serveLoop({ storage });
    expect(listeners).toHaveLength(1);
  });

  it("is called once, with or without a storage", async () => {
    for (const options of [undefined, {}, { storage }]) {
      const { serveLoop } = await inWorker();
      serveLoop(options);
      for (const again of [undefined, { storage }]) expect(() => serveLoop(again)).toThrow(refusal("invalid", "already"));
    }
  });

  it("refuses what is no storage, by name, and may be called again then", async () => {
    const { serveLoop } = await inWorker();
    expect(() => serveLoop(5 as never)).toThrow(refusal("invalid", "options"));
    expect(() => serveLoop({ store: storage } as never)).toThrow(refusal("invalid", "did you mean storage"));
    expect(() => serveLoop({ storage: {} as never })).toThrow(refusal("invalid", "options.storage.open"));
    serveLoop({ storage });
  });

  it("is unsupported outside of a worker, where the import does nothing", async () => {
    vi.resetModules();
    const { serveLoop } = await import("../../src/worker.js");
    expect(() => serveLoop({ storage })).toThrow(refusal("unsupported", "worker"));
  });
});
