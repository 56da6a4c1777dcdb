import type { JsonValue } from "../../domain/json.js";
import type { TerminalState, ValueSelector } from "../../domain/process/event-type.js";
import type { ProcessAwaitOutput } from "../../domain/process/process.js";
import {
  cancelled,
  casesOn,
  count,
  failure,
  type OpenFixture,
  outcomes,
  type Runner,
  refused,
  success,
  task,
} from "../kit/fixture.js";

const OUTPUTS: [state: TerminalState, output: ProcessAwaitOutput][] = [
  ["completed", success({ answer: 42 })],
  ["completed", { type: "success", value: null, control: { next: "step" } }],
  ["failed", failure("no")],
  ["failed", { type: "failure", class: "", code: "", message: "", raw: null, control: [1] }],
  ["cancelled", cancelled("stop")],
  ["cancelled", { type: "cancelled", message: "", raw: { why: 1 }, control: false }],
];

/** Ends of processes: each process has one. */
export function terminalCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const ending = (state: string, awaitOutput: JsonValue, replayKey = "end") => ({
    eventType: `process.${state}`,
    payload: { awaitOutput },
    replayKey,
  });

  promise(
    "a completion stores the terminal event of its output and returns the record (P-49, P-60)",
    async ({ processes, clock }) => {
      for (const [at, [state, output]] of OUTPUTS.entries()) {
        const id = `p${at}`;
        const made = await processes.registerProcess(task(id));
        await clock.advance(1);
        const record = await processes.completeProcess(id, output);
        expect(record).toEqual({ ...made, status: { state, awaitOutput: output }, updatedAtMs: clock.now() });
        expect(await processes.getProcess(id)).toEqual(record);
        const [event, ...others] = await processes.eventsAfter(id, 0);
        expect(others).toEqual([]);
        expect(event?.eventType).toBe(`process.${state}`);
        expect(event?.payload).toEqual({ awaitOutput: output });
        expect(event?.invocation.replayKey).toBe(`process:${id}:terminal:process.${state}`);
        expect(event?.semantics).toEqual({ terminal: { state, awaitOutput: output } });
        expect(await processes.awaitProcess(id)).toEqual(output);
      }
    },
  );

  promise("the same completion again succeeds and changes nothing (P-61)", async ({ processes, clock }) => {
    for (const [at, [, output]] of OUTPUTS.entries()) {
      await processes.registerProcess(task(`p${at}`));
      const record = await processes.completeProcess(`p${at}`, output);
      await clock.advance(1);
      await changesNothing(processes, async () => {
        expect(await processes.completeProcess(`p${at}`, structuredClone(output))).toEqual(record);
      });
    }
  });

  promise(
    "another output of the same kind is a conflict, of another kind too late: the first end stays (P-48, P-61)",
    async ({ processes, clock }) => {
      for (const [at, [state, output]] of OUTPUTS.entries()) {
        const id = `p${at}`;
        await processes.registerProcess(task(id));
        await processes.completeProcess(id, output);
        await clock.advance(1);
        await changesNothing(processes, async () => {
          for (const other of [success("other"), failure("other"), cancelled("other")]) {
            const same = other.type === output.type;
            await refused(
              processes.completeProcess(id, other),
              same ? "conflict" : "terminal",
              same ? "conflicts with an existing event" : "is already terminal",
            );
          }
          await refused(processes.appendEvent(id, ending(state, output as JsonValue)), "terminal", "is already terminal");
        });
      }
    },
  );

  promise("of racing ends one is stored (P-61)", async ({ processes, open }) => {
    const stores = [processes, (await open()).processes, (await open()).processes];
    await processes.registerProcess(task("p"));
    const { values, codes } = await outcomes(
      count(18).map((n) => (stores[n % 3] ?? processes).completeProcess("p", n % 2 ? success(n) : failure(`${n}`))),
    );
    expect(values.length).toBe(1);
    expect(codes.filter((code) => code !== "conflict" && code !== "terminal")).toEqual([]);
    expect(await processes.getProcess("p")).toEqual(values[0]);
    expect((await processes.eventsAfter("p", 0)).length).toBe(1);
  });

  promise(
    "the terminal event may be appended as well, and its replay succeeds after the end (P-46, P-49)",
    async ({ processes, clock }) => {
      const made = await processes.registerProcess(task("p"));
      await clock.advance(1);
      const first = await processes.appendEvent("p", ending("failed", failure("no") as JsonValue));
      expect(first.event.semantics).toEqual({ terminal: { state: "failed", awaitOutput: failure("no") } });
      expect(await processes.getProcess("p")).toEqual({
        ...made,
        status: { state: "failed", awaitOutput: failure("no") },
        updatedAtMs: clock.now(),
      });
      await clock.advance(1);
      await changesNothing(processes, async () => {
        expect(await processes.appendEvent("p", ending("failed", failure("no") as JsonValue))).toEqual(first);
        await refused(processes.completeProcess("p", failure("no")), "terminal", "is already terminal");
      });
    },
  );

  promise("an unknown process cannot be completed (P-60)", async ({ processes }) => {
    await refused(processes.completeProcess("nobody", success(1)), "not-found", "unknown process");
    expect(await processes.getProcess("nobody")).toBe(undefined);
  });

  const raw = (state: "failed" | "cancelled", message: string, value: JsonValue) =>
    state === "failed"
      ? { type: "failure", class: "execution", code: "process_failed", message, raw: value }
      : { type: "cancelled", message, raw: value };
  const at: ValueSelector = { pointer: "/at" };
  const materialised: [state: TerminalState, selector: ValueSelector | undefined, payload: JsonValue, output: object][] = [
    ["completed", undefined, { a: 1 }, success({ a: 1 })],
    ["completed", undefined, null, success(null)],
    ["completed", undefined, { type: "success", value: 1 }, success({ type: "success", value: 1 })],
    [
      "completed",
      undefined,
      { type: "failure", class: "c", code: "d", message: "m" },
      success({ type: "failure", class: "c", code: "d", message: "m" }),
    ],
    ["completed", at, { at: 3 }, success(3)],
    ["completed", at, { at: null }, success(null)],
    ["completed", at, { at: { type: "success", value: 1, control: 2 } }, { type: "success", value: 1, control: 2 }],
    ["completed", at, { at: { type: "success" } }, success({ type: "success" })],
    ["completed", at, { at: { type: "other", value: 1 } }, success({ type: "other", value: 1 })],
    ["completed", "payload", { type: "success", value: 1 }, success(1)],
    ["failed", at, { at: "boom" }, raw("failed", "boom", "boom")],
    ["failed", at, { at: { n: [1] } }, raw("failed", '{"n":[1]}', { n: [1] })],
    ["failed", at, { at: null }, raw("failed", "null", null)],
    [
      "failed",
      at,
      { at: { type: "failure", class: "c", code: "d" } },
      raw("failed", '{"type":"failure","class":"c","code":"d"}', { type: "failure", class: "c", code: "d" }),
    ],
    [
      "failed",
      at,
      { at: { type: "failure", class: "c", code: "d", message: "m" } },
      { type: "failure", class: "c", code: "d", message: "m" },
    ],
    ["cancelled", at, { at: "why" }, raw("cancelled", "why", "why")],
    ["cancelled", at, { at: 7 }, raw("cancelled", "7", 7)],
    ["cancelled", at, { at: { type: "cancelled", message: "m", raw: 1 } }, { type: "cancelled", message: "m", raw: 1 }],
  ];
  promise("an own terminal type ends with the selected output, or wraps the value by its state (P-62)", async ({ processes }) => {
    for (const [n, [state, awaitOutput, payload, output]] of materialised.entries()) {
      const terminal = awaitOutput === undefined ? { state } : { state, awaitOutput };
      await processes.registerProcess(task(`p${n}`, { eventTypes: [{ name: "end", semantics: { terminal } }] }));
      const { event } = await processes.appendEvent(`p${n}`, { eventType: "end", payload, replayKey: "k" });
      expect(event.semantics).toEqual({ terminal: { state, awaitOutput: output } });
      expect((await processes.getProcess(`p${n}`))?.status).toEqual({ state, awaitOutput: output });
    }
  });

  promise("the core terminal types select /awaitOutput and wrap what is none (P-62)", async ({ processes }) => {
    for (const state of ["completed", "failed", "cancelled"] as const) {
      await processes.registerProcess(task(state));
      await changesNothing(processes, async () => {
        const bare = { eventType: `process.${state}`, payload: { value: 1 }, replayKey: "k" };
        await refused(processes.appendEvent(state, bare), "invalid", "did not match");
      });
      await processes.appendEvent(state, ending(state, "text"));
      const output = state === "completed" ? success("text") : raw(state, "text", "text");
      expect(await processes.awaitProcess(state)).toEqual(output);
    }
  });

  promise("an output that disagrees with the state of its type is invalid (P-63)", async ({ processes }) => {
    const own = (["completed", "failed", "cancelled"] as const).map((state) => ({
      name: `own.${state}`,
      semantics: { terminal: { state, awaitOutput: "payload" as const } },
    }));
    await processes.registerProcess(task("p", { eventTypes: own }));
    await changesNothing(processes, async () => {
      for (const state of ["completed", "failed", "cancelled"] as const) {
        for (const [other, output] of OUTPUTS) {
          if (other === state) continue;
          await refused(processes.appendEvent("p", ending(state, output as JsonValue)), "invalid", output.type);
          const mine = { eventType: `own.${state}`, payload: output as JsonValue, replayKey: "k" };
          await refused(processes.appendEvent("p", mine), "invalid", output.type);
        }
      }
    });
  });

  promise("an output that is none is invalid (P-60)", async ({ processes }) => {
    await processes.registerProcess(task("p"));
    const broken = [
      {},
      { type: "success" },
      { type: "done", value: 1 },
      { type: "failure", message: "m" },
      { type: "cancelled" },
      { type: "cancelled", message: 1 },
    ];
    await changesNothing(processes, async () => {
      for (const output of broken) await refused(processes.completeProcess("p", output as never), "invalid", "output");
    });
  });
}
