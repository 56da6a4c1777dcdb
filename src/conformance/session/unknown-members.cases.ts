import type { Kernel } from "../../kernel/kernel.js";
import { createKernel } from "../../platform.js";
import type { Row } from "../../ports/storage.js";
import { casesOn, type OpenFixture, type Runner, refused, success, task } from "../kit/fixture.js";
import { readRows, writeRows } from "../kit/rows.fixture.js";
import { fullInput, input } from "./runtime.fixture.js";

/** A call with one member that it does not know, and what the refusal says. */
type Wrong = readonly [call: (kernel: Kernel) => Promise<unknown>, ...says: string[]];

const target = { realm: "r", binding: "b" };
const scope = { sessionId: "s" };

async function first(events: AsyncIterable<unknown>): Promise<unknown> {
  for await (const event of events) return event;
  return undefined;
}

const as = (value: object) => value as never;

const WRONG: readonly Wrong[] = [
  [(k) => k.start(as({ ...task("n"), grants: {} })), "request.grants is not known; did you mean grant?"],
  [(k) => k.start(as({ input: { type: "task", nmae: "x" } })), "request.input.nmae is not known; did you mean name?"],
  [(k) => k.start(as({ input: { type: "task", name: "x", metadata: 1 } })), "request.input.metadata is not known"],
  [
    (k) => k.start(as({ ...task("n"), grant: { scope, descripter: {} } })),
    "request.grant.descripter is not known; did you mean descriptor?",
  ],
  [(k) => k.start(as({ ...task("n"), grant: { scope: { sesionId: "s" } } })), "request.grant.scope.sesionId", "sessionId?"],
  [(k) => k.start(as({ ...task("n"), provenance: { ownerScope: scope, hostProfile: "h" } })), "request.provenance.hostProfile"],
  [(k) => k.processes.registerProcess(as({ ...task("n"), grant: {} })), "registration.grant is not known"],
  [(k) => k.processes.registerProcess(as(task("n", { eventTypes: [as({ name: "x", schema: true })] }))), "eventTypes/0.schema"],
  [(k) => k.processes.appendEvent("p", as({ eventType: "note", payload: 1, replaykey: "r" })), "request.replaykey"],
  [(k) => k.processes.completeProcess("p", success(1), as({ leas: 1 })), "leas is no option of completeProcess", "lease?"],
  [(k) => k.processes.completeProcess("p", as({ ...success(1), contrl: 1 })), "output.contrl", "did you mean control?"],
  [(k) => k.processes.eventsAfter("p", 0, as({ limt: 1 })), "limt is no option of eventsAfter; did you mean limit?"],
  [(k) => k.processes.waitEventAfter("p", "x", 0, as({ sginal: 1 })), "sginal is no option of waitEventAfter", "signal?"],
  [(k) => k.processes.awaitProcess("p", as({ timeout: 1 })), "timeout is no option of awaitProcess; known are signal"],
  [(k) => k.processes.list(as({ stat: "running" })), "stat is no option of list; did you mean state?"],
  [(k) => k.processes.listNonTerminal(as({ state: "running" })), "state is no option of listNonTerminal"],
  [(k) => k.processes.setExternalRef("p", as({ backend: "b", id: "1", meta: 1 })), "externalRef.meta is not known"],
  [(k) => k.processes.grantHandle(scope, "p", as({ lable: "x" })), "descriptor.lable is not known; did you mean label?"],
  [(k) => k.process("p").result(as({ sginal: 1 })), "sginal is no option of result; did you mean signal?"],
  [(k) => first(k.process("p").events(as({ aftr: 1 }))), "aftr is no option of events; did you mean after?"],
  [(k) => k.lifecycle.list(as({ state: "online" })), "state is no option of list", "status"],
  [(k) => k.session("s", as({ polcy: 1 })), "polcy is no option of session; did you mean policy?"],
  [(k) => k.session("s", { ops: as({ maxConcurent: 1 }) }), "options.ops.maxConcurent", "did you mean maxConcurrent?"],
  [(k) => k.sessions.messages("s", as({ before: 1 })), "before is no option of messages; known are after"],
  [async (k) => (await k.session("s")).messages(as({ aftr: 1 })), "aftr is no option of messages; did you mean after?"],
  [
    async (k) => (await k.session("s")).submit(as({ inputType: "prompt", text: "t", visibility: { transcript: true } })),
    "input.visibility.transcript is not known",
  ],
  [
    async (k) => (await k.session("s")).ops.register(as({ id: "o", kind: "background_tool_op", displayName: "d", label: "l" })),
    "spec.label is not known",
  ],
  [async (k) => (await k.session("s")).ops.waitAll([], as({ sginal: 1 })), "sginal is no option of waitAll"],
  [async (k) => (await k.session("s")).ops.waitForAdvance(0, as({ sginal: 1 })), "sginal is no option of waitForAdvance"],
  [
    (k) => k.auth.beginBrowser(as({ target, provider: "p", redirectUri: "u", pkceVerifier: "v", scopes: [] })),
    "flow.scopes is not known",
  ],
  [(k) => k.auth.release(as({ ...target, profil: "x" })), "target.profil is not known; did you mean profile?"],
  [(k) => k.runtime.persistInputState("rt", input("a"), as({ leese: 1 })), "fence.leese is not known; did you mean lease?"],
  [(k) => k.runtime.commitSessionSnapshot("rt", as({ snapshot: new Uint8Array(0) })), "delta.snapshot is not known"],
];

/** The row with one more member, and so the record in it and each object in that. */
function widened(row: Row): object {
  const { record } = row;
  return { ...row, newer: 1, ...(record !== undefined && { record: widenedRecord(record) }) };
}

function widenedRecord(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(widenedRecord);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).map(([name, member]) => [
    name,
    name === "persistedInput" ? member : widenedRecord(member),
  ]);
  return { ...Object.fromEntries(members), newer: 1 };
}

const OPTIONS: readonly (readonly [options: object, ...says: string[]])[] = [
  [{ handler: {} }, "handler is no option of createKernel; did you mean handlers?"],
  [{ timing: {} }, "timing is no option of createKernel; did you mean timings?"],
  [{ zzz: 1 }, "zzz is no option of createKernel; known are "],
  [{ timings: { leaseTtl: 1 } }, "timings.leaseTtl is not known; did you mean leaseTtlMs?"],
  [{ limits: { payload: 1 } }, "limits.payload is not known"],
  [{ retention: { terminalProcesses: 1 } }, "retention.terminalProcesses is not known; did you mean terminalProcessesMs?"],
];

/** A member of options or of a request that is not known is a mistake of the caller, and is not passed over. */
export function unknownMemberCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);

  promise("a member that a call does not know is invalid, and named with the nearest known one (A-5)", async ({ kernel }) => {
    await kernel.processes.registerProcess(task("p", { eventTypes: [{ name: "note" }] }));
    await changesNothing(kernel.processes, async () => {
      for (const [call, ...says] of WRONG) await refused((async () => call(kernel))(), "invalid", ...says);
    });
  });

  promise("an option that createKernel does not know is invalid, and named with the nearest known one (A-5)", async (setup) => {
    for (const [options, ...says] of OPTIONS) await refused(setup.open(as(options)), "invalid", ...says);
    await refused(createKernel(as({ nam: "x" })), "invalid", "nam is no option of createKernel; did you mean name?");
  });

  promise("an unknown member that is undefined is none (A-5)", async (setup) => {
    const { handler, ...open } = { handler: undefined, timings: { lease: undefined }, handlers: { job: undefined } };
    const kernel = await setup.open(as({ handler, ...open }));
    await kernel.start(as({ ...task("p"), grants: undefined, grant: { scope, more: undefined } }));
    const { processes } = kernel;
    expect((await processes.list(as({ stat: undefined }))).map(({ id }) => id)).toEqual(["p"]);
    expect(await processes.eventsAfter("p", 0, as({ limt: undefined }))).toEqual([]);
    expect(await (await kernel.session("s", as({ polcy: undefined }))).messages(as({ aftr: undefined }))).toEqual([]);
  });

  promise("rows with members of another holdfast are read (A-5)", async (setup) => {
    const { kernel, processes } = setup;
    await processes.registerProcess(task("p", { eventTypes: [{ name: "note" }] }));
    await processes.appendEvent("p", { eventType: "note", payload: 1 });
    await kernel.runtime.persistInputState("rt", fullInput("a"));
    const before = [
      await processes.getProcess("p"),
      await processes.eventsAfter("p", 0),
      await kernel.runtime.loadInputStates("rt"),
    ];
    for (const table of ["processes", "registrations", "events", "inputs"]) {
      for (const row of await readRows(setup, table)) await writeRows(setup, { table, put: widened(row) as Row });
    }
    const { processes: again, runtime } = await setup.reopen();
    expect([await again.getProcess("p"), await again.eventsAfter("p", 0), await runtime.loadInputStates("rt")]).toEqual(before);
  });

  promise("a record that holdfast gave out may have members of a newer one (A-5)", async ({ kernel, processes }) => {
    await processes.registerProcess(task("p", { eventTypes: [{ name: "note" }] }));
    const { lease } = { lease: { ...(await processes.claimProcessLease("p", "me", 1_000)), newer: 1 } };
    expect((await processes.appendEvent("p", { eventType: "note", payload: 1, lease })).event.sequence).toBe(1);
    const renewed = await processes.renewProcessLease(lease, 2_000);
    await processes.completeProcessLease(renewed);
    expect(await processes.getLease("p")).toBe(undefined);
    const state = { ...input("a"), newer: 1 };
    await kernel.runtime.persistInputState("rt", state);
    expect((await kernel.runtime.loadInputState("rt", "a"))?.inputId).toBe("a");
  });
}
