import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { loadsOf, tooMuchAtStart } from "../../scripts/sizes.mjs";

const src = fileURLToPath(new URL("../../src", import.meta.url));

/** The purpose of a part, and a file at its heart. */
const ROOMS = {
  "runs of processes": "kernel/process/runner.ts",
  "leases by hand": "stores/process/leases-by-hand.ts",
  "session archives": "stores/session/archive.ts",
  "logins and secrets": "kernel/vault/vault.ts",
  "the runtime store": "stores/session/runtime.ts",
  operations: "kernel/session/operations.ts",
  turns: "stores/session/turns.ts",
  agents: "stores/host/lifecycle.ts",
  "the list of hosts": "kernel/host/host-list.ts",
  "the loop in the page": "loop/loop.ts",
  "the sweeper": "stores/host/beats.ts",
  "the memory storage": "adapters/storage-memory.ts",
  schemas: "stores/process/json-schema.ts",
};

describe("an app that imports holdfast", () => {
  let atStart: string[] = [];
  let later: string[] = [];

  const filesOf = (ids: readonly string[]) => ids.map((id) => relative(src, id).replaceAll("\\", "/"));

  beforeAll(async () => {
    const loads = await loadsOf(`${src}/index.ts`);
    atStart = filesOf(loads.atStart);
    later = filesOf(loads.later.flatMap(({ moduleIds }) => moduleIds));
  });

  it("loads at start what opens a kernel, starts processes and opens sessions", () => {
    for (const file of [
      "kernel/kernel.ts",
      "corridor/run.ts",
      "kernel/process/start.ts",
      "stores/process/events.ts",
      "kernel/session/sessions.ts",
      "kernel/host/presence.ts",
    ])
      expect(atStart).toContain(file);
  });

  it.each(Object.entries(ROOMS))("loads %s later", (_, file) => {
    expect(later).toContain(file);
    expect(atStart).not.toContain(file);
  });

  it("loads no table of what errors mean, at any time", () => {
    expect([...atStart, ...later]).not.toContain("domain/error-codes.ts");
  });
});

describe("the budget of the start", () => {
  it("lets pass what keeps to it, and names what was measured and what was asked for else", () => {
    expect(tooMuchAtStart(1_000)).toBeUndefined();
    expect(tooMuchAtStart(68_302)).toMatch(
      /^a page loads 68\.3 kB brotli at start; the budget is [\d.]+ kB, and the goal 40 kB$/,
    );
  });
});
