import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Kernel } from "../../../kernel/kernel.js";
import type { ProcessHandler } from "../../../kernel/process/context/context.js";
import { defineProcess } from "../../../kernel/process/definition/define.js";
import type { ProcessRegistry } from "../../../kernel/process/registry.js";
import {
  casesOn,
  count,
  type OpenFixture,
  type Runner,
  refusalMismatch,
  refused,
  type Setup,
  success,
  task,
} from "../../kit/fixture.js";
import { noJson } from "../../kit/hostile.js";

/** Signals: how they are sent and stored. */
export function signalCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);

  const host = (setup: Setup, handlers: Record<string, ProcessHandler>) => setup.open({ loop: "inline", handlers });
  const signalsOf = async (processes: ProcessRegistry, id = "p") =>
    (await processes.eventsAfter(id, 0)).filter(({ eventType }) => eventType === "process.signal");
  const payloadsOf = async (processes: ProcessRegistry) => (await signalsOf(processes)).map(({ payload }) => payload);

  promise(
    "a signal is stored as an event under its id, from the handle and from the registry (F-13)",
    async ({ kernel, processes }) => {
      await processes.registerProcess(task("p"));
      expect(await kernel.process("p").signal("go", { a: [1] }, { signalId: "one" })).toBe(undefined);
      expect(await processes.signal("p", "go", { a: [2] }, { signalId: "two" })).toBe(undefined);
      expect((await signalsOf(processes)).map(({ payload, invocation }) => [payload, invocation.replayKey])).toEqual([
        [{ name: "go", signalId: "one", payload: { a: [1] } }, "process:p:signal:one"],
        [{ name: "go", signalId: "two", payload: { a: [2] } }, "process:p:signal:two"],
      ]);
    },
  );

  promise("without a payload it is null, and without an id it gets a fresh UUID (F-13)", async ({ kernel, processes }) => {
    await processes.registerProcess(task("p"));
    await kernel.process("p").signal("go");
    await processes.signal("p", "go", undefined, {});
    const stored = (await payloadsOf(processes)) as { name: string; signalId: string; payload: unknown }[];
    expect(stored.map(({ name, payload }) => [name, payload])).toEqual([
      ["go", null],
      ["go", null],
    ]);
    const uuid = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/;
    expect(stored.map(({ signalId }) => uuid.test(signalId))).toEqual([true, true]);
    expect(new Set(stored.map(({ signalId }) => signalId)).size).toBe(2);
  });

  promise("the same signal again changes nothing, and another one under its id is a conflict (F-13)", async (setup) => {
    const { processes } = setup;
    await processes.registerProcess(task("p"));
    const other = (await setup.open()).processes;
    const send = (of: ProcessRegistry) => of.signal("p", "go", { a: 1, b: 2 }, { signalId: "one" });
    await Promise.all([send(processes), send(other), send(processes)]);
    await changesNothing(processes, async () => {
      await send(other);
      await other.signal("p", "go", { b: 2, a: 1, c: undefined }, { signalId: "one" });
      await refused(other.signal("p", "go", { a: 1 }, { signalId: "one" }), "conflict", "process:p:signal:one");
      await refused(other.signal("p", "stop", { a: 1, b: 2 }, { signalId: "one" }), "conflict", "process:p:signal:one");
    });
    expect((await signalsOf(processes)).length).toBe(1);
  });

  promise(
    "an unknown process is not found, an ended one terminal, and what it got before is still the same (F-13)",
    async ({ processes }) => {
      await processes.registerProcess(task("p"));
      await processes.signal("p", "go", 1, { signalId: "one" });
      await processes.completeProcess("p", success(null));
      await changesNothing(processes, async () => {
        await refused(processes.signal("none", "go"), "not-found", "unknown process");
        await refused(processes.signal("p", "go", 1), "terminal", "already terminal");
        await processes.signal("p", "go", 1, { signalId: "one" });
        await refused(processes.signal("p", "go", 2, { signalId: "one" }), "conflict");
      });
    },
  );

  promise(
    "ids, names and payloads of any text stay apart, and lone surrogates in a payload are mended (F-13)",
    async ({ processes }) => {
      const ids = ["p", "p:signal:a", "p%3Asignal", "__proto__"];
      for (const id of ids) await processes.registerProcess(task(id));
      const names = ["go", "__proto__", "a:b", "\u0000", "constructor"];
      for (const id of ids) for (const name of names) await processes.signal(id, name, id, { signalId: `${name}:signal:x` });
      for (const id of ids) {
        expect((await signalsOf(processes, id)).map(({ payload }) => payload)).toEqual(
          names.map((name) => ({ name, signalId: `${name}:signal:x`, payload: id })),
        );
      }
      await processes.signal("p", "mended", ["a\ud800b"], { signalId: "m" });
      expect((await payloadsOf(processes)).at(-1)).toEqual({ name: "mended", signalId: "m", payload: ["a\ufffdb"] });
    },
  );

  promise(
    "a handle refuses what is no name, payload or id, by its name, and stores nothing (F-13)",
    async ({ kernel, processes }) => {
      await processes.registerProcess(task("p"));
      const handle = kernel.process("p");
      const wrong: unknown[] = [];
      await changesNothing(processes, async () => {
        for (const name of ["", " ", "\ud800", "x".repeat(513), 1, null, undefined])
          wrong.push(await refusalMismatch(handle.signal(name as string), "invalid", "name"));
        for (const payload of Object.values(noJson()))
          wrong.push(await refusalMismatch(handle.signal("go", payload), "invalid", "payload"));
        for (const signalId of ["", "\ud800", 1])
          wrong.push(
            await refusalMismatch(handle.signal("go", 1, { signalId: signalId as string }), "invalid", "options.signalId"),
          );
        wrong.push(
          await refusalMismatch(handle.signal("go", 1, { signalID: "x" } as never), "invalid", "did you mean signalId?"),
        );
      });
      expect(wrong.filter((one) => one !== undefined)).toEqual([]);
    },
  );

  promise("a payload is the one of the moment of the call (F-13)", async ({ kernel, processes }) => {
    await processes.registerProcess(task("p"));
    const payload = { list: [1] };
    const sent = kernel.process("p").signal("go", payload, { signalId: "one" });
    payload.list.push(2);
    await sent;
    expect(await payloadsOf(processes)).toEqual([{ name: "go", signalId: "one", payload: { list: [1] } }]);
  });

  promise(
    "an app appends no event of holdfast's own types, with or without a lease and whatever its key (F-13)",
    async ({ processes }) => {
      await processes.registerProcess(task("p", { eventTypes: [{ name: "note" }] }));
      const lease = await processes.claimProcessLease("p", "owner", 60_000);
      const types = ["signal", "waiting", "step", "step_failed", "attempt_failed", "restarted"].map((name) => `process.${name}`);
      await changesNothing(processes, async () => {
        for (const eventType of types) {
          for (const replayKey of [undefined, "k", "process:p:signal:one", "process:p:wait:k", "process:p:sleep:k"]) {
            for (const more of [{}, { lease }]) {
              const request = { eventType, payload: { key: "k", result: null }, ...(replayKey && { replayKey }), ...more };
              await refused(processes.appendEvent("p", request), "invalid", eventType, "holdfast's own");
            }
          }
        }
        for (const kind of ["signal", "sleep", "wait", "waiting", "step_failed", "attempt_failed", "restarted"]) {
          const note = { eventType: "note", payload: 1, replayKey: `process:p:${kind}:x` };
          await refused(processes.appendEvent("p", note), "invalid", "holdfast's own");
          const cancel = { eventType: "process.cancel_requested", payload: {}, replayKey: `process:p:${kind}:x` };
          await refused(processes.appendEvent("p", cancel), "invalid", "holdfast's own");
        }
      });
      await processes.appendEvent("p", { eventType: "process.cancel_requested", payload: {}, replayKey: "k" });
    },
  );

  promise(
    "a handle of a definition is judged by its schemas where no handler is, and a broken definition has none (F-13)",
    async (setup) => {
      const isNumber = (value: unknown) => (typeof value === "number" ? { value } : { issues: [{ message: "no number" }] });
      const go: StandardSchemaV1<number> = { "~standard": { version: 1, vendor: "test", validate: isNumber } };
      const job = defineProcess({ name: "job", signals: { go }, run() {} });
      const { kernel, processes } = setup;
      await processes.registerProcess({ id: "p", input: { type: "external", metadata: null } });
      const handle = kernel.process(job, "p");
      await refused(handle.signal("go", "no" as never), "invalid", "no number");
      await refused(handle.signal("stop" as never, 1 as never), "invalid", "stop");
      await handle.signal("go", 1);
      expect((await signalsOf(processes)).map(({ payload }) => (payload as { payload: unknown }).payload)).toEqual([1]);
      for (const broken of [{}, null, { name: "job" }, 1])
        await refused((async () => kernel.process(broken as never, "p"))(), "invalid", "definition");
      await refused((async () => kernel.process(job, ""))(), "invalid", "processId");
    },
  );

  promise("a handler's handle sends under the lease of the handler, and not after its run (F-13)", async (setup) => {
    let late: ReturnType<Kernel["process"]> | undefined;
    const kernel = await host(setup, {
      job: async ({ process }) => {
        late = process("q");
        await late.signal("go", 1, { signalId: "one" });
      },
    });
    await kernel.processes.registerProcess({ id: "q", input: { type: "external", metadata: null } });
    await kernel.start("job", { id: "p" });
    expect(await kernel.processes.awaitProcess("p")).toEqual(success(null));
    await setup.clock.advance(0);
    await refused((late as NonNullable<typeof late>).signal("go", 2), "lease-lost");
    expect((await signalsOf(kernel.processes, "q")).map(({ payload }) => payload)).toEqual([
      { name: "go", signalId: "one", payload: 1 },
    ]);
  });

  promise("many signals at once are all stored, each once, in one order for all (F-13)", async (setup) => {
    const { processes } = setup;
    await processes.registerProcess(task("p"));
    const other = (await setup.open()).processes;
    const all = count(60);
    await Promise.all(all.map((n) => (n % 2 ? processes : other).signal("p", "go", n)));
    const stored = (await payloadsOf(processes)) as { payload: number }[];
    expect(stored.map(({ payload }) => payload).sort((a, b) => a - b)).toEqual(all);
    expect((await signalsOf(other)).map(({ payload }) => payload) as unknown).toEqual(stored);
  });
}
