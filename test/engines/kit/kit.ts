// The conformance kit over this browser's IndexedDB, case by case; each is reported to the server.
import { describeConformance } from "holdfast/conformance";
import { indexedDbStorage } from "holdfast/indexeddb";
import { difference } from "./equal.js";

/** The page's report to the server. */
export type Report = { type: "case"; name: string; ms: number; error?: string } | { type: "end" };

const CASE_MS = 60_000;
const cases: { name: string; body: () => Promise<void> | void }[] = [];
const path: string[] = [];

function report(fact: Report): Promise<unknown> {
  return fetch("/report", { method: "POST", body: JSON.stringify(fact) });
}

function expect(actual: unknown) {
  const hold = (why: string | undefined) => {
    if (why !== undefined) throw new Error(why);
  };
  return {
    toBe: (expected: unknown) =>
      hold(Object.is(actual, expected) ? undefined : `expected ${String(expected)}, got ${String(actual)}`),
    toEqual: (expected: unknown) => hold(difference(actual, expected)),
  };
}

/** Waits for closed connections that still end a transaction; a connection that a case left open blocks it. */
function deleted(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    request.onsuccess = () => resolve();
    request.onerror = () => reject(request.error);
  });
}

describeConformance(
  "IndexedDB",
  async () => ({
    storage: indexedDbStorage(),
    reopen: async () => indexedDbStorage(),
    dispose: async () => {
      for (const { name } of await indexedDB.databases()) await deleted(name as string);
    },
  }),
  {
    describe(name, body) {
      path.push(name);
      body();
      path.pop();
    },
    it: (name, body) => void cases.push({ name: [...path.slice(1), name].join(": "), body }),
    expect,
  },
);

for (const { name, body } of cases) {
  const begunMs = performance.now();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${CASE_MS / 1000} s`)), CASE_MS);
  });
  let error: string | undefined;
  try {
    await Promise.race([body(), late]);
  } catch (thrown) {
    error = thrown instanceof Error ? `${thrown.name}: ${thrown.message}\n${thrown.stack}` : String(thrown);
  }
  clearTimeout(timer);
  await report({ type: "case", name, ms: performance.now() - begunMs, ...(error !== undefined && { error }) });
}
await report({ type: "end" });
