import type { JsonValue } from "../../domain/json.js";
import type { ProcessEventAppendRequest } from "../../domain/process/event.js";
import type { ProcessEventType, WakeSpec } from "../../domain/process/event-type.js";
import { casesOn, type OpenFixture, type Runner, refused, SCOPES, success, task } from "../kit/fixture.js";

const { one, frame, two } = SCOPES;

const wakes = (name: string, wake: WakeSpec): ProcessEventType => ({ name, semantics: { wake } });
const TEXT = { pointer: "/text" };
const TYPES: ProcessEventType[] = [
  { name: "note" },
  wakes("wake", { input: TEXT }),
  wakes("maybe", { when: { pointer: "/loud" }, input: TEXT }),
  wakes("identity", { input: TEXT, dedupeKey: "event_identity" }),
  wakes("selected", { input: TEXT, dedupeKey: { selector: { pointer: "/key" } } }),
  wakes("shared", { input: TEXT, dedupeKey: { const: "shared" } }),
  { name: "end", semantics: { terminal: { state: "completed" }, wake: { input: TEXT } } },
];

/** Wakes: events that call a session. */
export function wakeCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise, changesNothing } = casesOn(open, runner);
  const append = (
    eventType: string,
    payload: JsonValue,
    more: Partial<ProcessEventAppendRequest> = {},
  ): ProcessEventAppendRequest => ({
    eventType,
    payload,
    wakeTarget: one,
    ...more,
  });
  const hello = { text: "hello" };

  promise("a wake's delivery says whom it calls, why, and with what (P-84, P-90, P-91)", async ({ processes, clock }) => {
    const causedBy = { type: "turn" as const, id: "t" };
    const provenance = { ownerScope: two, hostProfileId: "h", causedBy };
    await processes.registerProcess(task("p", { eventTypes: TYPES, provenance }));
    await clock.advance(3);
    const { event, wakeDelivery } = await processes.appendEvent(
      "p",
      append("wake", hello, { wakeTarget: frame, replayKey: "k" }),
    );
    const { wakeId, ...rest } = wakeDelivery ?? { wakeId: "" };
    expect(rest).toEqual({
      targetSessionId: "one",
      targetScopeId: "session:one/frame:f",
      processId: "p",
      sequence: 1,
      eventType: "wake",
      eventInvocation: event.invocation,
      processCausedBy: causedBy,
      dedupeKey: "p:1",
      input: "hello",
      createdAtMs: clock.now(),
    });
    expect(/^wake:[0-9a-f]{64}$/.test(wakeId)).toBe(true);
    expect(event.semantics).toEqual({ wake: { input: "hello", dedupeKey: "p:1" } });
    expect(event.invocation.scope).toEqual({ sessionId: "two" });
    expect(await processes.wakeEventsAfter("p", 0)).toEqual([event]);
  });

  promise("a process without a cause has none on its deliveries (P-91)", async ({ processes }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    const { wakeDelivery } = await processes.appendEvent("p", append("wake", hello));
    expect("processCausedBy" in (wakeDelivery ?? { processCausedBy: "no delivery" })).toBe(false);
    expect(wakeDelivery?.targetScopeId).toBe("session:one");
  });

  promise("an event whose `when` is false is stored and wakes nobody (P-80)", async ({ processes }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    const quiet = await processes.appendEvent("p", append("maybe", { loud: false }));
    expect([quiet.wakeDelivery, quiet.event.semantics, quiet.event.sequence]).toEqual([undefined, {}, 1]);
    const { wakeTarget: _, ...untargeted } = append("maybe", { loud: false });
    expect((await processes.appendEvent("p", untargeted)).event.sequence).toBe(2);
    expect((await processes.appendEvent("p", append("maybe", { loud: true, ...hello }))).wakeDelivery?.input).toBe("hello");
    expect((await processes.wakeEventsAfter("p", 0)).map(({ sequence }) => sequence)).toEqual([3]);
  });

  promise(
    "a wake without a target is refused and stores nothing; a target elsewhere is ignored (P-81)",
    async ({ processes, clock }) => {
      await processes.registerProcess(task("p", { eventTypes: TYPES }));
      await clock.advance(1);
      await changesNothing(processes, async () => {
        for (const name of ["wake", "identity", "shared"]) {
          await refused(
            processes.appendEvent("p", { eventType: name, payload: hello }),
            "invalid",
            "without a wake target scope",
          );
        }
        const end = { eventType: "end", payload: hello, replayKey: "k" };
        await refused(processes.appendEvent("p", end), "invalid", "without a wake target scope");
      });
      const { event, wakeDelivery } = await processes.appendEvent("p", append("note", hello));
      expect([event.semantics, wakeDelivery]).toEqual([{}, undefined]);
      expect(await processes.wakeEventsAfter("p", 0)).toEqual([]);
    },
  );

  promise("the dedupe key is the event's identity, a selected text, or a constant (P-82)", async ({ processes }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    const keyOf = async (name: string, payload: JsonValue) =>
      (await processes.appendEvent("p", append(name, payload))).wakeDelivery?.dedupeKey;
    expect(await keyOf("wake", hello)).toBe("p:1");
    expect(await keyOf("identity", hello)).toBe("p:2");
    expect(await keyOf("selected", { ...hello, key: "text" })).toBe("text");
    expect(await keyOf("selected", { ...hello, key: { n: [1] } })).toBe('{"n":[1]}');
    expect(await keyOf("selected", { ...hello, key: null })).toBe("null");
    expect(await keyOf("shared", hello)).toBe("shared");
    await refused(processes.appendEvent("p", append("selected", hello)), "invalid", "did not match");
  });

  promise("the wake id is SHA-256 of the target's scope id and the dedupe key (P-83)", async ({ processes }) => {
    for (const id of ["p", "q"]) await processes.registerProcess(task(id, { eventTypes: TYPES }));
    const idOf = async (process: string, request: ProcessEventAppendRequest) =>
      (await processes.appendEvent(process, request)).wakeDelivery?.wakeId;
    const ofOne = "wake:c95f8a566e3376af510c047843ba66506cdcf8259f75264b6543902677e42106";
    expect(await idOf("p", append("shared", hello))).toBe(ofOne);
    expect(await idOf("p", append("shared", { text: "another" }))).toBe(ofOne);
    expect(await idOf("q", append("shared", hello))).toBe(ofOne);
    expect(await idOf("q", append("selected", { ...hello, key: "shared" }))).toBe(ofOne);
    const ofFrame = "wake:8b0055f5f1472e4cb879580b2f12485084aed4947464b82d7a561f9a9a6b2b05";
    expect(await idOf("p", append("shared", hello, { wakeTarget: frame }))).toBe(ofFrame);
    const own = [await idOf("p", append("wake", hello)), await idOf("p", append("wake", hello))];
    expect(own[0] === own[1]).toBe(false);
  });

  promise("a replay returns the stored delivery, whatever target it names (P-45, P-46)", async ({ processes, clock }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    const first = await processes.appendEvent("p", append("wake", hello, { replayKey: "k" }));
    const quiet = await processes.appendEvent("p", append("maybe", { loud: false }, { replayKey: "q" }));
    await clock.advance(1);
    await changesNothing(processes, async () => {
      expect(await processes.appendEvent("p", append("wake", hello, { replayKey: "k" }))).toEqual(first);
      expect(await processes.appendEvent("p", append("wake", hello, { replayKey: "k", wakeTarget: two }))).toEqual(first);
      expect(await processes.appendEvent("p", { eventType: "wake", payload: hello, replayKey: "k" })).toEqual(first);
      expect(await processes.appendEvent("p", append("maybe", { loud: false }, { replayKey: "q" }))).toEqual(quiet);
    });
    await processes.ackWake("p", 1);
    expect(await processes.appendEvent("p", append("wake", hello, { replayKey: "k" }))).toEqual(first);
    expect(await processes.wakeEventsAfter("p", 0)).toEqual([]);
  });

  promise("an end may wake, once, and its replay returns the delivery after the end (P-46)", async ({ processes }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    const first = await processes.appendEvent("p", append("end", hello, { replayKey: "k" }));
    expect(first.wakeDelivery?.input).toBe("hello");
    expect(first.event.semantics.terminal).toEqual({ state: "completed", awaitOutput: success(hello) });
    expect(await processes.appendEvent("p", append("end", hello, { replayKey: "k" }))).toEqual(first);
    await refused(processes.appendEvent("p", append("end", hello, { replayKey: "l" })), "terminal", "is already terminal");
    expect((await processes.wakeEventsAfter("p", 0)).length).toBe(1);
  });

  promise("an ended process still wakes (P-48)", async ({ processes }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    await processes.completeProcess("p", success(1));
    expect((await processes.appendEvent("p", append("wake", hello))).wakeDelivery?.sequence).toBe(2);
  });

  promise(
    "pending wakes are read behind a sequence, in order, until they are acknowledged (P-51, P-52)",
    async ({ processes }) => {
      for (const id of ["p", "q"]) await processes.registerProcess(task(id, { eventTypes: TYPES }));
      for (const name of ["note", "wake", "note", "wake", "wake"]) await processes.appendEvent("p", append(name, hello));
      await processes.appendEvent("q", append("wake", hello));
      const pending = async (after: number) => (await processes.wakeEventsAfter("p", after)).map(({ sequence }) => sequence);
      expect([await pending(0), await pending(2), await pending(4), await pending(5)]).toEqual([[2, 4, 5], [4, 5], [5], []]);
      await processes.ackWake("p", 4);
      expect([await pending(0), await pending(2)]).toEqual([[2, 5], [5]]);
      expect((await processes.wakeEventsAfter("q", 0)).length).toBe(1);
    },
  );

  promise("an acknowledgement alters neither events nor the record, and may be repeated (P-52)", async ({ processes, clock }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    for (const name of ["wake", "note"]) await processes.appendEvent("p", append(name, hello));
    const [events, record] = [await processes.eventsAfter("p", 0), await processes.getProcess("p")];
    await clock.advance(1);
    for (const sequence of [1, 1]) await processes.ackWake("p", sequence);
    expect([await processes.eventsAfter("p", 0), await processes.getProcess("p")]).toEqual([events, record]);
    expect(await processes.wakeEventsAfter("p", 0)).toEqual([]);
  });

  promise("acknowledging what is no wake, or not there yet, is accepted and not kept (P-52)", async ({ processes }) => {
    await processes.registerProcess(task("p", { eventTypes: TYPES }));
    await processes.appendEvent("p", append("note", hello));
    await changesNothing(processes, async () => {
      for (const sequence of [0, 1, 2, Number.MAX_SAFE_INTEGER]) await processes.ackWake("p", sequence);
      await refused(processes.ackWake("nobody", 1), "not-found", "unknown process");
    });
    await processes.appendEvent("p", append("wake", hello));
    expect((await processes.wakeEventsAfter("p", 0)).map(({ sequence }) => sequence)).toEqual([2]);
  });
}
