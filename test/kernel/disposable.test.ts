import { afterEach, beforeEach, expect, it, vi } from "vitest";

const platformSymbol = Symbol;

/** `Symbol` as a platform has it that is older than `await using`. */
function olderSymbol(): SymbolConstructor {
  const names = Object.getOwnPropertyNames(Symbol).filter((name) => !/^(length|name|prototype|dispose|asyncDispose)$/.test(name));
  const older = (description?: string) => platformSymbol(description);
  return Object.assign(older, Object.fromEntries(names.map((name) => [name, Symbol[name as keyof SymbolConstructor]]))) as never;
}

beforeEach(() => {
  vi.resetModules();
  vi.stubGlobal("Symbol", olderSymbol());
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

it("where the platform has no Symbol.asyncDispose, all that can be disposed of has close() alone (A-12)", async () => {
  expect(Symbol.asyncDispose).toBeUndefined();
  const { createKernel } = await import("../../src/index.js");
  const { memoryStorage } = await import("../../src/memory.js");
  const kernel = await createKernel({ name: "old", storage: memoryStorage(), channel: false, locks: false });
  const session = await kernel.session("s");
  const agent = await kernel.agent("a");
  const target = { realm: "r", binding: "b" };
  await kernel.auth.admitDevice({ target, provider: "p", deviceCode: "d", expiresInMs: 1_000 });
  const poll = await kernel.auth.pollDevice({ target, provider: "p", deviceCode: "d" });
  for (const one of [kernel, session, agent, poll]) expect(Object.keys(one)).not.toContain("undefined");
  await poll.finish();
  await agent.close();
  await session.close();
  await kernel.close();
});
