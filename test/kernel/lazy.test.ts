import { afterEach, describe, expect, it } from "vitest";
import { manualClock } from "../../src/adapters/clock-manual.js";
import { memoryStorage } from "../../src/adapters/storage-memory.js";
import { HoldfastError } from "../../src/domain/errors.js";
import type { KernelEvents } from "../../src/kernel/emitter.js";
import * as agents from "../../src/kernel/host/agents.js";
import { platformRandom } from "../../src/kernel/host/ids.js";
import type { Loop, LoopPage } from "../../src/kernel/host/loop-contract.js";
import { type Kernel, openKernel } from "../../src/kernel/kernel.js";
import { type Lazy, lazy, loaded, mapLazy, methodsOf } from "../../src/kernel/lazy.js";
import type { LazyParts } from "../../src/kernel/lazy-parts.js";
import type { KernelOptions } from "../../src/kernel/options.js";
import type { LoopStart, Platform } from "../../src/kernel/platform.js";
import { typed } from "../../src/kernel/process/definition/define.js";
import * as definitions from "../../src/kernel/process/definition/defined-start.js";
import type { ProcessDefinition } from "../../src/kernel/process/definition/definition.js";
import * as restarts from "../../src/kernel/process/restart.js";
import * as runs from "../../src/kernel/process/runs.js";
import * as schedules from "../../src/kernel/process/schedules/schedules.js";
import * as signals from "../../src/kernel/process/waits/send-signal.js";
import * as runtime from "../../src/kernel/runtime-store.js";
import * as archive from "../../src/kernel/session/archive.js";
import * as attendant from "../../src/kernel/session/attendance/attendant.js";
import * as turns from "../../src/kernel/session/executor.js";
import * as inputReads from "../../src/kernel/session/inputs/input-reads.js";
import * as ops from "../../src/kernel/session/operations.js";
import * as sessionView from "../../src/kernel/session/view/session-view.js";
import * as views from "../../src/kernel/session/view/view-sources.js";
import * as sealed from "../../src/kernel/vault/sealed.js";
import { createLoop } from "../../src/loop/loop.js";
import { startWorkerLoop } from "../../src/loop/worker-remote.js";
import type { KernelStorage } from "../../src/ports/storage.js";
import * as grants from "../../src/stores/process/handles.js";
import * as leases from "../../src/stores/process/leases-by-hand.js";
import { gate, rounds, until } from "./rounds.js";

const codes: { [K in keyof LazyParts]: NonNullable<LazyParts[K]["loaded"]> } = {
  sealed,
  archive,
  runtime,
  ops,
  inputReads,
  turns,
  attendant,
  agents,
  definitions,
  grants,
  leases,
  schedules,
  restarts,
  runs,
  signals,
  views,
  sessionView,
};

/** Code that cannot be loaded until a test puts it there. */
function shelf<T>(what: string, code: T) {
  const missing = new Error("the chunk is gone");
  const state = { isThere: false, asked: 0 };
  const of = lazy(what, async () => {
    state.asked++;
    if (!state.isThere) throw missing;
    return code;
  });
  return Object.assign(state, { code: of, missing });
}

describe("lazy code", () => {
  it("is loaded once for all callers, while it is loaded and after", async () => {
    const arriving = gate<string>();
    let asked = 0;
    const code = lazy("things", () => {
      asked++;
      return arriving.promise;
    });
    const both = Promise.all([code.load(), code.load()]);
    expect(code.loaded).toBeUndefined();
    arriving.open("code");
    expect(await both).toEqual(["code", "code"]);
    expect([code.loaded, await code.load(), asked]).toEqual(["code", "code", 1]);
  });

  it("that cannot be loaded is unavailable by its name, and is tried again at the next call", async () => {
    const things = shelf("things", "code");
    const error = await things.code.load().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error).toMatchObject({
      code: "unavailable",
      message: "the code of things could not be loaded",
      cause: things.missing,
    });
    await expect(things.code.load()).rejects.toMatchObject({ code: "unavailable" });
    things.isThere = true;
    expect([await things.code.load(), things.asked]).toEqual(["code", 3]);
  });

  it("is mapped once, for the first caller that needs it", async () => {
    let made = 0;
    const things = mapLazy(loaded("code"), (code) => `${code} ${++made}`);
    expect([things.loaded, await things.load(), made]).toEqual(["code 1", "code 1", 1]);
  });
});

describe("methods of lazy code", () => {
  const signal = new AbortController().signal;
  const run = () => 1;

  /** The arguments of a call, as the method finds them when its code is there. */
  async function handedOver(given: unknown[], afterwards: () => void): Promise<unknown[]> {
    const arriving = gate<{ take(...args: unknown[]): Promise<unknown[]> }>();
    const { take } = methodsOf<{ take(...args: unknown[]): Promise<unknown[]> }>(
      lazy("things", () => arriving.promise),
      { take: true },
    );
    const taken = take(...given);
    afterwards();
    arriving.open({ take: async (...args) => args });
    return await taken;
  }

  it("take what they were given as it was in the moment of the call", async () => {
    const record = { text: "before", bytes: new Uint8Array([1]), list: [{ n: 1 }] };
    const options = { signal, run };
    const taken = await handedOver([record, options, "text"], () => {
      record.text = "after";
      record.bytes[0] = 9;
      (record.list[0] as { n: number }).n = 9;
    });
    expect(taken).toEqual([{ text: "before", bytes: new Uint8Array([1]), list: [{ n: 1 }] }, options, "text"]);
    expect((taken[1] as typeof options).signal).toBe(signal);
  });

  it("take it itself once their code is there", async () => {
    const given = {};
    const { take } = methodsOf<{ take(value: object): Promise<object> }>(loaded({ take: async (value) => value }), {
      take: true,
    });
    expect(await take(given)).toBe(given);
  });

  it("run in the order of their calls", async () => {
    const arriving = gate<object>();
    const seen: number[] = [];
    const { note } = methodsOf<{ note(n: number): Promise<void> }>(
      mapLazy(
        lazy("things", () => arriving.promise),
        () => ({ note: async (n: number) => void seen.push(n) }),
      ),
      { note: true },
    );
    const calls = [note(1), note(2), note(3)];
    arriving.open({});
    await Promise.all(calls);
    await note(4);
    expect(seen).toEqual([1, 2, 3, 4]);
  });
});

describe("a kernel whose code does not all arrive", () => {
  const kernels: Kernel[] = [];
  afterEach(async () => {
    await Promise.all(kernels.splice(0).map((kernel) => kernel.close()));
  });

  const inHere = (parts: LoopStart): Loop => createLoop({ ...parts, farewellMs: 0 });

  async function open(
    lazyParts: Partial<LazyParts>,
    { inlineLoop, storage, ...options }: { inlineLoop?: Platform["inlineLoop"] } & Omit<KernelOptions, "name"> = {},
  ) {
    const clock = manualClock();
    const platform: Platform = {
      clock: () => clock,
      random: platformRandom,
      storage: () => storage ?? memoryStorage(),
      channel: () => undefined,
      locks: () => undefined,
      seal: () => undefined,
      origin: () => undefined,
      farewellNotes: () => undefined,
      keepAlive: () => () => {},
      workers: () => false,
      inlineLoop: inlineLoop ?? loaded(inHere),
      workerLoop() {
        throw new Error("there are no workers here");
      },
      lazyParts: { ...allLoaded(), ...lazyParts },
    };
    const kernel = await openKernel({ name: "lazy", ...options }, platform);
    kernels.push(kernel);
    const faults: KernelEvents["fault"][] = [];
    kernel.on("fault", (fault) => faults.push(fault));
    return { kernel, clock, faults };
  }

  const allLoaded = () =>
    Object.fromEntries(Object.entries(codes).map(([name, code]) => [name, loaded(code)])) as unknown as LazyParts;

  const target = { realm: "r", binding: "b" };
  const calls: { [K in keyof LazyParts]?: [what: string, call: (kernel: Kernel) => Promise<unknown>] } = {
    archive: ["session archives", (kernel) => kernel.sessions.list()],
    runtime: ["the runtime store", (kernel) => kernel.runtime.loadInputStates("r")],
    sealed: ["logins and secrets", (kernel) => kernel.secrets.get("s")],
    ops: ["operations", async (kernel) => (await kernel.session("s")).ops.list()],
    agents: ["agents", (kernel) => kernel.lifecycle.list()],
    grants: ["grants of handles", (kernel) => kernel.processes.listHandleGrants({ sessionId: "s" })],
    leases: ["leases", (kernel) => kernel.processes.getLease("p")],
  };

  it.each(Object.entries(calls))(
    "rejects a call that needs the code of %s, and answers it when that is there",
    async (name, [what, call]) => {
      const missing = shelf(what, codes[name as keyof LazyParts]);
      const { kernel, faults } = await open({ [name]: missing.code });
      expect(missing.asked).toBe(0);
      await expect(call(kernel)).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining(what) });
      missing.isThere = true;
      await call(kernel);
      expect(faults).toEqual([]);
    },
  );

  async function linesOf(kernel: Kernel): Promise<string[]> {
    const lines: string[] = [];
    for await (const line of kernel.sessions.export("s")) lines.push(line);
    return lines;
  }

  it("exports a session, and registers an agent, once that is there", async () => {
    const archives = shelf("session archives", archive);
    const others = shelf("agents", agents);
    const { kernel } = await open({ archive: archives.code, agents: others.code });
    await kernel.session("s");
    await expect(linesOf(kernel)).rejects.toMatchObject({ code: "unavailable" });
    await expect(kernel.agent("a")).rejects.toMatchObject({ code: "unavailable" });
    archives.isThere = true;
    others.isThere = true;
    expect((await linesOf(kernel)).length).toBeGreaterThan(0);
    await kernel.agent("a");
    expect(await kernel.lifecycle.list()).toMatchObject([{ agentId: "a", status: "online" }]);
  });

  it("tells that turns cannot be run, and runs them when they can", async () => {
    const missing = shelf("turns", turns);
    const { kernel, clock, faults } = await open({ turns: missing.code });
    const session = await kernel.session("s");
    session.onTurn(async (turn) => void turn.append({ role: "assistant", content: "done" }));
    await session.submit({ inputType: "prompt", text: "go" });
    await until(() => faults.length > 0, "a fault");
    expect(faults[0]).toMatchObject({ area: "session", code: "unavailable", message: "the code of turns could not be loaded" });
    missing.isThere = true;
    await clock.advance(60_000);
    expect((await session.messages()).map(({ content }) => content)).toContain("done");
  });

  it.each(["arrives", "cannot be loaded at first"])(
    "starts nothing for a session that was closed before the code of turns %s (A-17)",
    async (how) => {
      const arriving = gate();
      let asked = 0;
      const made: string[] = [];
      const createExecutor: typeof turns.createExecutor = (parts) => {
        made.push(parts.sessionId);
        return turns.createExecutor(parts);
      };
      const slow = lazy("turns", async () => {
        asked++;
        await arriving.promise;
        if (asked === 1 && how !== "arrives") throw new Error("the chunk is gone");
        return { ...turns, createExecutor };
      });
      const { kernel, clock } = await open({ turns: slow }, { turns: async () => {} });
      const session = await kernel.session("s");
      await until(() => asked === 1, "the first try");
      await session.close();
      arriving.open();
      await rounds(30);
      await clock.advance(60_000);
      expect([made, asked]).toEqual([[], 1]);
    },
  );

  it("leaves a process that is a turn to be run when that can be", async () => {
    const missing = shelf("turns", turns);
    const { kernel, clock, faults } = await open({ turns: missing.code });
    const session = await kernel.session("s");
    session.onTurn(async () => {});
    const handle = await kernel.start({ input: { type: "session_turn", sessionId: "s", input: "go" } });
    await clock.advance(1_000);
    expect(faults.map(({ area }) => area)).toContain("runner");
    expect((await handle.record())?.status.state).toBe("running");
    missing.isThere = true;
    await clock.advance(300_000);
    expect((await handle.outcome()).type).toBe("success");
  });

  it.each([
    ["by name", { handlers: { job: () => "done" } }],
    ["of a definition", { processes: [{ name: "job", run: () => "done" } as ProcessDefinition] }],
  ])("opens without the code that runs processes, tells that, and claims and runs those %s when it is there", async (_, more) => {
    const missing = shelf("the runner", runs);
    const { kernel, clock, faults } = await open({ runs: missing.code }, more);
    const claimed: string[] = [];
    kernel.on("leaseClaimed", ({ processId }) => claimed.push(processId));
    const handle = await kernel.start("job");
    await clock.advance(1_000);
    expect(faults[0]).toMatchObject({
      area: "runner",
      code: "unavailable",
      message: "the code of the runner could not be loaded",
    });
    expect([(await handle.record())?.status.state, await kernel.processes.getLease(handle.id)]).toEqual(["running", undefined]);
    missing.isThere = true;
    await clock.advance(60_000);
    expect([await handle.result(), claimed]).toEqual(["done", [handle.id]]);
  });

  it("runs a process that is a turn when the code that runs processes is there, and asks for it only then", async () => {
    const missing = shelf("the runner", runs);
    const { kernel, clock, faults } = await open({ runs: missing.code });
    await clock.advance(60_000);
    expect(missing.asked).toBe(0);
    const session = await kernel.session("s");
    session.onTurn(async () => {});
    const handle = await kernel.start({ input: { type: "session_turn", sessionId: "s", input: "go" } });
    await clock.advance(1_000);
    expect(faults.map(({ area, code }) => [area, code])).toContainEqual(["runner", "unavailable"]);
    expect((await handle.record())?.status.state).toBe("running");
    missing.isThere = true;
    await clock.advance(60_000);
    expect((await handle.outcome()).type).toBe("success");
  });

  it("that closes before the code that runs processes is there asks for it no more, and tells nothing", async () => {
    const missing = shelf("the runner", runs);
    const { kernel, clock, faults } = await open({ runs: missing.code }, { handlers: { job: () => "done" } });
    await rounds();
    const { asked } = missing;
    const told = faults.length;
    await kernel.close();
    await clock.advance(600_000);
    expect([missing.asked, faults.length]).toEqual([asked, told]);
  });

  it("with a handler has the code that runs processes when it is open: the first start claims in its own write", async () => {
    const present = shelf("the runner", runs);
    present.isThere = true;
    const { kernel, clock, faults } = await open({ runs: present.code }, { handlers: { job: () => "done" } });
    expect([present.asked, present.code.loaded === runs]).toEqual([1, true]);
    await clock.advance(1_000);
    expect((await (await kernel.start("job")).outcome()).type).toBe("success");
    expect([present.asked, faults]).toEqual([1, []]);
  });

  it.each([{}, { handlers: { job: () => "done" }, loop: "off" as const }])(
    "that runs no process does not load the code for it (%o)",
    async (more) => {
      const present = shelf("the runner", runs);
      present.isThere = true;
      const { kernel, clock } = await open({ runs: present.code }, more);
      await kernel.start("job");
      await clock.advance(60_000);
      expect(present.asked).toBe(0);
    },
  );

  it("leaves a process of a definition to be run when its code is there, and starts none before", async () => {
    const missing = shelf("definitions", definitions);
    const definition = { name: "job", input: typed<unknown>(), run: () => "done" };
    const { kernel, clock, faults } = await open({ definitions: missing.code }, { processes: [definition] });
    await expect(kernel.start(definition)).rejects.toMatchObject({ code: "unavailable", cause: missing.missing });
    const handle = await kernel.start({ input: { type: "task", name: "job" } });
    await clock.advance(1_000);
    expect(faults.map(({ area }) => area)).toContain("runner");
    expect((await handle.record())?.status.state).toBe("running");
    missing.isThere = true;
    await clock.advance(300_000);
    expect(await handle.result()).toBe("done");
  });

  it("keeps the input of a start as it was at the call", async () => {
    const arriving = gate<typeof definitions>();
    const { kernel } = await open({ definitions: lazy("definitions", () => arriving.promise) });
    const options = { id: "p", input: { n: 1 } };
    const started = kernel.start("job", options);
    options.input.n = 2;
    options.id = "q";
    arriving.open(definitions);
    expect((await (await started).record())?.input).toEqual({ type: "task", name: "job", args: { n: 1 } });
  });

  it("keeps what a call was given", async () => {
    const arriving = gate<typeof sealed>();
    const { kernel } = await open({ sealed: lazy("logins and secrets", () => arriving.promise) });
    const flow = { target, provider: "p", redirectUri: "https://a.example", pkceVerifier: "v" };
    const begun = kernel.auth.beginBrowser(flow);
    flow.pkceVerifier = "another";
    arriving.open(sealed);
    const { state } = await begun;
    expect(await kernel.auth.consumeBrowser({ state, target, provider: "p", redirectUri: "https://a.example" })).toEqual({
      pkceVerifier: "v",
    });
  });

  it("that closes before the code of a call is there refuses the call", async () => {
    const arriving = gate<typeof agents>();
    const { kernel } = await open({ agents: lazy("agents", () => arriving.promise) });
    const registered = kernel.agent("a");
    await kernel.close();
    arriving.open(agents);
    await expect(registered).rejects.toMatchObject({ code: "closed" });
  });

  it("does not open without a loop where none else runs one, and leaves no connection behind", async () => {
    const missing = shelf("the loop", inHere);
    const closed: string[] = [];
    const inner = memoryStorage();
    const storage: KernelStorage = {
      kind: "memory",
      async open(opening) {
        const storage = await inner.open(opening);
        return { ...storage, close: async () => void closed.push(await storage.close().then(() => "closed")) };
      },
    };
    await expect(open({}, { inlineLoop: missing.code, storage })).rejects.toMatchObject({
      code: "unavailable",
      message: "the code of the loop could not be loaded",
    });
    expect(closed).toEqual(["closed"]);
    missing.isThere = true;
    const { kernel } = await open({}, { inlineLoop: missing.code, storage });
    expect((await kernel.status()).loop).toBe("inline");
  });
});

describe("a worker that is given up", () => {
  const noWorker = (): Worker => {
    throw new Error("no workers");
  };

  function giveUp(inline: Lazy<() => Loop>, createWorker = noWorker) {
    const clock = manualClock();
    const faults: KernelEvents["fault"][] = [];
    const loop = startWorkerLoop({
      config: { timings: { leaseRenewMs: 1_000 } } as never,
      clock,
      page: { fault: async (fault: KernelEvents["fault"]) => void faults.push(fault) } as unknown as LoopPage,
      createWorker,
      inline,
    });
    return { loop, clock, faults };
  }

  function countedLoop() {
    const told: string[] = [];
    const loop: Loop = {
      kind: "inline",
      poke: () => void told.push("poke"),
      stop: async () => void told.push("stop"),
      kill: () => void told.push("kill"),
    };
    const create = () => {
      told.push("begin");
      return loop;
    };
    return { told, create };
  }

  /** A worker whose script fails as soon as it is loaded. */
  function brokenWorker(): Worker {
    const worker = Object.assign(new EventTarget(), { postMessage() {}, terminate() {} });
    setTimeout(() => worker.dispatchEvent(Object.assign(new Event("error"), { message: "no such file" })));
    return worker as unknown as Worker;
  }

  it.each([
    ["cannot be made", noWorker, "the loop's worker could not be made: no workers"],
    ["cannot be loaded", brokenWorker, "the loop's worker failed: no such file"],
  ])("because it %s is told once, with the reason and what to do about it", async (_, createWorker, reason) => {
    const { loop, clock, faults } = giveUp(loaded(countedLoop().create), createWorker);
    await rounds();
    await clock.advance(60_000);
    expect(loop.kind).toBe("inline");
    const error = expect.any(Error);
    expect(faults).toEqual([{ area: "worker", code: "unavailable", message: expect.stringContaining(reason), error }]);
    for (const said of ["runs in the page now", "holdfast/worker", "worker-src", "`worker`", 'loop: "inline"'])
      expect(faults[0]?.message).toContain(said);
    await loop.stop();
  });

  it("has the loop in the page as soon as its code is there, after as many tries as it takes", async () => {
    const { told, create } = countedLoop();
    const missing = shelf("the loop", create);
    const { loop, clock, faults } = giveUp(missing.code);
    await rounds();
    expect(loop.kind).toBe("inline");
    expect(faults.map(({ area, code }) => [area, code])).toEqual([
      ["worker", "unavailable"],
      ["worker", "unavailable"],
    ]);
    loop.poke();
    missing.isThere = true;
    await clock.advance(60_000);
    loop.poke();
    await loop.stop();
    expect(told).toEqual(["begin", "poke", "stop"]);
  });

  it.each(["stop", "kill"] as const)("and %s before that begins no loop", async (end) => {
    const { told, create } = countedLoop();
    const arriving = gate<() => Loop>();
    const { loop } = giveUp(lazy("the loop", () => arriving.promise));
    await loop[end]();
    arriving.open(create);
    await rounds();
    expect(told).toEqual([]);
  });

  it.each(["stop", "kill"] as const)("and %s while it waits for the next try ends the tries", async (end) => {
    const missing = shelf("the loop", countedLoop().create);
    const { loop, clock } = giveUp(missing.code);
    await rounds();
    await loop[end]();
    await clock.advance(60_000);
    expect(missing.asked).toBe(1);
  });
});
