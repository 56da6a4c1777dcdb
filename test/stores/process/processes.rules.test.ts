import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { JsonValue } from "../../../src/domain/json.js";
import { CORE_EVENT_TYPES } from "../../../src/domain/process/event-type.js";
import type { ProcessInput } from "../../../src/domain/process/process.js";
import {
  grantWrite,
  hashOfJson,
  newProcess,
  prepared as prepare,
  processRecordOf,
  sameRegistration,
  unknownProcess,
  withExternalRef,
  withProgress,
} from "../../../src/stores/process/processes.rules.js";

type Given = Parameters<typeof prepare>[0];

const registration: Given = {
  id: "p",
  input: { type: "task", name: "job", args: { b: [1, 2], a: "ä" } },
  eventTypes: [{ name: "one" }, { name: "two" }],
  provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "default" },
};
const prepared = prepare(registration);
const OUTPUT = { type: "success", value: 1 } as const;
const sha256 = (text: string) => createHash("sha256").update(text, "utf8").digest("hex");

describe("the hash", () => {
  it.each<[JsonValue, string]>([
    [null, "null"],
    ["ä\n", '"ä\\n"'],
    [{ b: 1, a: [true, 1e21, 0.000001], "\u20ac": {} }, '{"a":[true,1e+21,0.000001],"b":1,"€":{}}'],
    [{ "\ud83d\ude00": 1, "\uffff": 2 }, '{"😀":1,"\uffff":2}'],
  ])("of %j is the SHA-256 of its canonical text in UTF-8", (value, text) => {
    expect(hashOfJson(value)).toBe(sha256(text));
  });

  it("of a registration covers id, input, event types and provenance, defaults filled in, without the core types", () => {
    expect(prepared.registrationHash).toBe(
      sha256(
        '{"eventTypes":[{"name":"one"},{"name":"two"}],"id":"p","input":{"args":{"a":"ä","b":[1,2]},"name":"job","type":"task"},' +
          '"provenance":{"hostProfileId":"default","ownerScope":{"sessionId":"root"}}}',
      ),
    );
  });

  it("does not ask for the order of members", () => {
    const turned = {
      provenance: { hostProfileId: "default", ownerScope: { sessionId: "root" } },
      eventTypes: registration.eventTypes,
      id: "p",
      input: { args: { a: "ä", b: [1, 2] }, name: "job", type: "task" as const },
    };
    expect(prepare(turned).registrationHash).toBe(prepared.registrationHash);
  });

  it.each<[string, Partial<Given>]>([
    ["the id", { id: "q" }],
    ["the input", { input: { type: "task", name: "job", args: { b: [2, 1], a: "ä" } } }],
    ["the order of the event types", { eventTypes: [{ name: "two" }, { name: "one" }] }],
    ["an event type's schema", { eventTypes: [{ name: "one", payloadSchema: true }, { name: "two" }] }],
    ["the owner scope", { provenance: { ownerScope: { sessionId: "other" }, hostProfileId: "default" } }],
    ["the profile", { provenance: { ownerScope: { sessionId: "root" }, hostProfileId: "other" } }],
    ["the cause", { provenance: { ...registration.provenance, causedBy: { type: "turn" } } }],
  ])("changes with %s", (_, other) => {
    expect(prepare({ ...registration, ...other }).registrationHash).not.toBe(prepared.registrationHash);
  });
});

describe("a new process", () => {
  it("runs, has no event, and keeps its input in a row of its own", () => {
    expect(newProcess(prepared, 5)).toEqual({
      process: {
        v: 1,
        processId: "p",
        registrationHash: prepared.registrationHash,
        provenance: registration.provenance,
        handler: "job",
        inputType: "task",
        runnable: "handler:job",
        createdAtMs: 5,
        updatedAtMs: 5,
        state: "running",
        lastSequence: 0,
      },
      registration: { v: 1, processId: "p", sessionId: "root", input: registration.input, eventTypes: registration.eventTypes },
    });
  });

  it.each<[ProcessInput, string | undefined]>([
    [{ type: "task", name: "job" }, "job"],
    [{ type: "tool_call", call: { callId: "1", toolName: "search", args: null } }, "tool:search"],
    [{ type: "session_turn", sessionId: "s", input: null }, "s"],
    [{ type: "external", metadata: null }, undefined],
  ])("of %j has the handler %s", (input, handler) => {
    const { process } = newProcess({ ...prepared, input }, 5);
    expect(process.handler).toBe(handler);
    expect(Object.hasOwn(process, "handler")).toBe(handler !== undefined);
  });

  it("shows as a record with the declared types and then the core ones", () => {
    const { process, registration: row } = newProcess(prepared, 5);
    expect(processRecordOf(process, row)).toEqual({
      id: "p",
      registrationHash: prepared.registrationHash,
      input: registration.input,
      eventTypes: [...registration.eventTypes, ...CORE_EVENT_TYPES],
      provenance: registration.provenance,
      createdAtMs: 5,
      updatedAtMs: 5,
      status: { state: "running" },
    });
  });

  it.each([
    ["runs, whatever output a broken row has", { state: "running", awaitOutput: OUTPUT }, { state: "running" }],
    ["runs, where a broken row has an end and no output", { state: "completed" }, { state: "running" }],
    ["has ended, with its output", { state: "completed", awaitOutput: OUTPUT }, { state: "completed", awaitOutput: OUTPUT }],
  ] as const)("shows that it %s", (_, changes, status) => {
    const { process, registration: row } = newProcess(prepared, 5);
    expect(processRecordOf({ ...process, ...changes }, row).status).toEqual(status);
  });

  it("shows its external ref and its progress once it has them", () => {
    const { process, registration: row } = newProcess(prepared, 5);
    expect(processRecordOf(process, row)).not.toHaveProperty("externalRef");
    expect(processRecordOf(process, row)).not.toHaveProperty("progress");
    const shown = { externalRef: { backend: "b", id: "1" }, progress: { done: 1, atMs: 6 } };
    expect(processRecordOf({ ...process, ...shown }, row)).toMatchObject(shown);
  });

  it("that is not stored is told by its id", () => {
    expect(unknownProcess("p")).toMatchObject({ code: "not-found", details: { processId: "p" } });
  });

  it("is granted to a scope under that scope's id and its session's", () => {
    const scope = { sessionId: "s", agentFrameId: "f" };
    const put = { v: 1, scopeId: "session:s/frame:f", processId: "p", sessionId: "s", descriptor: { label: "l" } };
    expect(grantWrite(scope, "p", { label: "l" })).toEqual({ table: "grants", put });
  });

  it("hands out core types that a caller may change without harm", () => {
    const { process, registration: row } = newProcess(prepared, 5);
    const before = structuredClone(CORE_EVENT_TYPES);
    for (const type of processRecordOf(process, row).eventTypes) Object.assign(type, { name: "changed", semantics: {} });
    expect(CORE_EVENT_TYPES).toEqual(before);
    expect(row.eventTypes).toEqual(registration.eventTypes);
  });

  it("again with the same hash is the same, with another a conflict", () => {
    const stored = newProcess(prepared, 5);
    expect(sameRegistration(stored, prepared)).toBe(true);
    expect(sameRegistration(stored, { ...prepared, registrationHash: "other" })).toMatchObject({
      code: "conflict",
      message: expect.stringContaining("registration hash conflict"),
      details: { processId: "p" },
    });
  });
});

describe("changes of a process", () => {
  const { process } = newProcess(prepared, 5);

  it("replace the external ref and the progress, and tell when", () => {
    const referred = withExternalRef(process, { backend: "b", id: "1" }, 6);
    expect(referred).toEqual({ ...process, externalRef: { backend: "b", id: "1" }, updatedAtMs: 6 });
    expect(withExternalRef(referred, { backend: "c", id: "2" }, 7).externalRef).toEqual({ backend: "c", id: "2" });
    expect(withProgress(withProgress(process, { done: 1, note: "n" }, 6), { done: 2 }, 7)).toEqual({
      ...process,
      progress: { done: 2, atMs: 7 },
      updatedAtMs: 7,
    });
  });

  it("leave the row that they are made from as it was", () => {
    const before = structuredClone(process);
    withExternalRef(process, { backend: "b", id: "1" }, 6);
    withProgress(process, { done: 1 }, 6);
    expect(process).toEqual(before);
  });
});
