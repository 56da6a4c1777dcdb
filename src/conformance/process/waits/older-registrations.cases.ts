import type { ProcessEventType } from "../../../domain/process/event-type.js";
import { casesOn, type OpenFixture, type Runner, refused, type Setup, success, task } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";

/** Registrations of an older holdfast, which declared names that are core types now. */
export function olderRegistrationCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);

  const declared: ProcessEventType[] = [
    { name: "process.signal", payloadSchema: { type: "object", required: ["to"] } },
    { name: "process.waiting", semantics: { wake: { input: "payload" } } },
    { name: "process.restarted", semantics: { terminal: { state: "completed" } } },
  ];

  /** Process "old" as an older holdfast stored it. */
  async function store(setup: Setup): Promise<void> {
    await setup.processes.registerProcess(task("old"));
    const [row] = await readRows(setup, "registrations");
    await writeRows(setup, { table: "registrations", put: { ...row, eventTypes: declared } as never });
  }

  promise("a name that a registration declared before it was core keeps its schema, wake and end (F-13, P-1)", async (setup) => {
    await store(setup);
    const { processes } = setup;
    const record = await processes.getProcess("old");
    expect(record?.eventTypes.slice(0, 3)).toEqual(declared);
    const names = record?.eventTypes.map(({ name }) => name) ?? [];
    expect(names.length).toBe(new Set(names).size);
    await refused(processes.appendEvent("old", { eventType: "process.signal", payload: {} }), "invalid", "process.signal", "to");
    const sent = await processes.appendEvent("old", { eventType: "process.signal", payload: { to: "me" }, replayKey: "k" });
    expect([sent.event.sequence, sent.event.payload, sent.event.invocation.replayKey]).toEqual([1, { to: "me" }, "k"]);
    const wakeTarget = { sessionId: "one" };
    const woken = await processes.appendEvent("old", { eventType: "process.waiting", payload: "now", wakeTarget });
    expect(woken.wakeDelivery?.input).toBe("now");
    // What it did not declare is holdfast's own, as in any process.
    await refused(processes.appendEvent("old", { eventType: "process.step_failed", payload: {} }), "invalid", "holdfast's own");
    await processes.appendEvent("old", {
      eventType: "process.restarted",
      payload: 1,
      replayKey: "process:old:terminal:process.restarted",
    });
    expect(await processes.awaitProcess("old")).toEqual(success(1));
  });

  promise("a process whose registration declared process.signal takes no signals: conflict (F-13)", async (setup) => {
    await store(setup);
    const { kernel, processes } = setup;
    await processes.appendEvent("old", { eventType: "process.signal", payload: { to: "me" } });
    await changesNothing(processes, async () => {
      await refused(kernel.process("old").signal("go", 1), "conflict", "process.signal");
      await refused(processes.signal("old", "go", 1, { signalId: "one" }), "conflict", "process.signal");
    });
    await processes.completeProcess("old", success(1));
    await refused(processes.signal("old", "go", 1), "conflict", "process.signal");
  });

  promise(
    "no wait takes an event that a registration declared as process.signal, and timers work beside it (F-14)",
    async (setup) => {
      await store(setup);
      await setup.processes.appendEvent("old", { eventType: "process.signal", payload: { to: "me", name: "go", signalId: "x" } });
      const kernel = await setup.open({
        loop: "inline",
        handlers: {
          work: async ({ sleep, waitForSignal }) => {
            await sleep("a", 1_000);
            return (await waitForSignal("go", { timeoutMs: 1_000 })) === undefined;
          },
        },
      });
      await setup.clock.advance(60_000);
      expect(await kernel.processes.awaitProcess("old")).toEqual(success(true));
      expect((await kernel.processes.wakeEventsAfter("old", 0)).length).toBe(0);
    },
  );
}
