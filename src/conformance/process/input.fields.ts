import type { ProcessRegistry } from "../../kernel/process/registry.js";
import { SCOPES, success, task } from "../kit/fixture.js";
import {
  given,
  hostileObjects,
  noCount,
  noExactJson,
  noId,
  noJson,
  noObject,
  noSignal,
  noText,
  type Values,
} from "../kit/hostile.js";

/** Wrong values for an argument, and a call whose other arguments are right. */
export type Field = [field: string, values: () => Values, call: (processes: ProcessRegistry, value: never) => Promise<unknown>];

const eventType = (more: object) => task("new", { eventTypes: [{ name: "x", ...more }] } as never);
const wake = (more: object) => eventType({ semantics: { wake: { input: "payload", ...more } } });
const provenance = (more: object) =>
  task("new", { provenance: { ownerScope: SCOPES.one, hostProfileId: "h", ...more } } as never);
const lease = (more: object) =>
  ({
    schemaVersion: 1,
    processId: "p",
    ownerId: "a",
    leaseToken: "t",
    fencingToken: 1,
    claimedAtMs: 0,
    expiresAtMs: 0,
    ...more,
  }) as never;
const note = (more: object) => ({ eventType: "note", payload: 1, ...more }) as never;

const idsIfGiven = given(noId);
const texts = given(() => ({ ...noText(), "a lone surrogate": "\ud800", "one too long": "x".repeat(513) }));
const json = () => ({ undefined: undefined, ...noJson() });

/** Every argument of every method. */
export const FIELDS = {
  registerProcess: [
    ["registration", noObject, (p, v) => p.registerProcess(v)],
    ["registration.id", noId, (p, id) => p.registerProcess({ ...task("new"), id })],
    ["registration.input", noObject, (p, input) => p.registerProcess({ id: "new", input })],
    ["registration.input.type", noId, (p, type) => p.registerProcess({ id: "new", input: { type, name: "x" } as never })],
    ["registration.input.name", noId, (p, name) => p.registerProcess({ id: "new", input: { type: "task", name } })],
    ["registration.input.args", noJson, (p, args) => p.registerProcess({ id: "new", input: { type: "task", name: "x", args } })],
    ["registration.input.call", noObject, (p, call) => p.registerProcess({ id: "new", input: { type: "tool_call", call } })],
    [
      "registration.input.call.args",
      json,
      (p, args) => p.registerProcess({ id: "new", input: { type: "tool_call", call: { callId: "c", toolName: "t", args } } }),
    ],
    [
      "registration.input.input",
      json,
      (p, input) => p.registerProcess({ id: "new", input: { type: "session_turn", sessionId: "s", input } }),
    ],
    [
      "registration.input.metadata",
      json,
      (p, metadata) => p.registerProcess({ id: "new", input: { type: "external", metadata } }),
    ],
    [
      "registration.eventTypes",
      () => ({
        null: null,
        "an object": {},
        "a text": "x",
        "a list of nothing": [undefined],
        "a sparse list": new Array(2),
        "a huge list": new Array(1e6),
        ...hostileObjects(),
      }),
      (p, eventTypes) => p.registerProcess(task("new", { eventTypes })),
    ],
    ["registration.eventTypes/0", noObject, (p, v) => p.registerProcess(task("new", { eventTypes: [v] }))],
    ["registration.eventTypes/0.name", noId, (p, name) => p.registerProcess(eventType({ name }))],
    [
      "registration.eventTypes/0.payloadSchema",
      noExactJson,
      (p, payloadSchema) => p.registerProcess(eventType({ payloadSchema })),
    ],
    ["registration.eventTypes/0.semantics", noObject, (p, semantics) => p.registerProcess(eventType({ semantics }))],
    [
      "registration.eventTypes/0.semantics.terminal",
      noObject,
      (p, terminal) => p.registerProcess(eventType({ semantics: { terminal } })),
    ],
    ["registration.eventTypes/0.semantics.wake", noObject, (p, v) => p.registerProcess(eventType({ semantics: { wake: v } }))],
    ["wake.when", noObject, (p, when) => p.registerProcess(wake({ when }))],
    ["wake.input", noObject, (p, input) => p.registerProcess(wake({ input }))],
    ["wake.input.pointer", given(noText), (p, pointer) => p.registerProcess(wake({ input: { pointer } }))],
    ["wake.input.present", given(noText), (p, present) => p.registerProcess(wake({ input: { present } }))],
    ["wake.input.template", given(noText), (p, template) => p.registerProcess(wake({ input: { template, fields: {} } }))],
    ["wake.input.const", noJson, (p, v) => p.registerProcess(wake({ input: { const: v } }))],
    [
      "wake.input.fields",
      () => ({ ...noObject(), undefined: undefined, "an own __proto__": JSON.parse('{"__proto__":"payload"}') }),
      (p, fields) => p.registerProcess(wake({ input: { template: "x", fields } })),
    ],
    ["wake.dedupeKey", noObject, (p, dedupeKey) => p.registerProcess(wake({ dedupeKey }))],
    ["wake.dedupeKey.const", texts, (p, v) => p.registerProcess(wake({ dedupeKey: { const: v } }))],
    ["registration.provenance", noObject, (p, v) => p.registerProcess(task("new", { provenance: v }))],
    ["registration.provenance.ownerScope", noObject, (p, ownerScope) => p.registerProcess(provenance({ ownerScope }))],
    [
      "registration.provenance.ownerScope.sessionId",
      noId,
      (p, sessionId) => p.registerProcess(provenance({ ownerScope: { sessionId } })),
    ],
    ["registration.provenance.hostProfileId", noId, (p, hostProfileId) => p.registerProcess(provenance({ hostProfileId }))],
    ["registration.provenance.causedBy", noExactJson, (p, causedBy) => p.registerProcess(provenance({ causedBy }))],
  ],
  setExternalRef: [
    ["processId", noId, (p, id) => p.setExternalRef(id, { backend: "b", id: "1" })],
    ["externalRef", noObject, (p, v) => p.setExternalRef("p", v)],
    ["externalRef.backend", noId, (p, backend) => p.setExternalRef("p", { backend, id: "1" })],
    ["externalRef.id", noId, (p, id) => p.setExternalRef("p", { backend: "b", id })],
    ["externalRef.metadata", noJson, (p, metadata) => p.setExternalRef("p", { backend: "b", id: "1", metadata })],
  ],
  getProcess: [["processId", noId, (p, id) => p.getProcess(id)]],
  list: [
    ["filter", noObject, (p, v) => p.list(v)],
    ["filter.state", idsIfGiven, (p, state) => p.list({ state })],
    ["filter.sessionId", idsIfGiven, (p, sessionId) => p.list({ sessionId })],
    ["filter.after", idsIfGiven, (p, after) => p.list({ after })],
    ["filter.limit", given(noCount), (p, limit) => p.list({ limit })],
  ],
  listNonTerminal: [
    ["options", noObject, (p, v) => p.listNonTerminal(v)],
    ["options.after", idsIfGiven, (p, after) => p.listNonTerminal({ after })],
    ["options.limit", given(noCount), (p, limit) => p.listNonTerminal({ limit })],
  ],
  grantHandle: [
    ["scope", noObject, (p, v) => p.grantHandle(v, "p", {})],
    [
      "scope.sessionId",
      () => ({ ...noId(), "one with a frame in it": "s/frame:f" }),
      (p, sessionId) => p.grantHandle({ sessionId }, "p", {}),
    ],
    [
      "scope.agentFrameId",
      () => ({ ...idsIfGiven(), "an empty text": null }),
      (p, agentFrameId) => p.grantHandle({ sessionId: "s", agentFrameId }, "p", {}),
    ],
    ["processId", noId, (p, id) => p.grantHandle(SCOPES.one, id, {})],
    ["descriptor", noObject, (p, v) => p.grantHandle(SCOPES.one, "p", v)],
    ["descriptor.kind", texts, (p, kind) => p.grantHandle(SCOPES.one, "p", { kind })],
    ["descriptor.label", texts, (p, label) => p.grantHandle(SCOPES.one, "p", { label })],
  ],
  revokeHandle: [
    ["scope", noObject, (p, v) => p.revokeHandle(v, "p")],
    ["processId", noId, (p, id) => p.revokeHandle(SCOPES.one, id)],
  ],
  transferHandleGrants: [
    ["from", noObject, (p, v) => p.transferHandleGrants(v, SCOPES.two, ["p"])],
    ["to", noObject, (p, v) => p.transferHandleGrants(SCOPES.one, v, ["p"])],
    [
      "processIds",
      () => ({ ...noObject(), "a list": undefined, "an object": {} }),
      (p, v) => p.transferHandleGrants(SCOPES.one, SCOPES.two, v),
    ],
    ["processIds/1", noId, (p, id) => p.transferHandleGrants(SCOPES.one, SCOPES.two, ["p", id])],
  ],
  listHandleGrants: [["scope", noObject, (p, v) => p.listHandleGrants(v)]],
  listLiveHandleGrants: [["scope", noObject, (p, v) => p.listLiveHandleGrants(v)]],
  hasHandleGrant: [
    ["scope", noObject, (p, v) => p.hasHandleGrant(v, "p")],
    ["processId", noId, (p, id) => p.hasHandleGrant(SCOPES.one, id)],
  ],
  handleGrantsForProcess: [["processId", noId, (p, id) => p.handleGrantsForProcess(id)]],
  deleteSessionProcessState: [["sessionId", noId, (p, id) => p.deleteSessionProcessState(id)]],
  appendEvent: [
    ["processId", noId, (p, id) => p.appendEvent(id, note({}))],
    ["request", noObject, (p, v) => p.appendEvent("p", v)],
    ["request.eventType", noId, (p, name) => p.appendEvent("p", note({ eventType: name }))],
    ["request.payload", json, (p, payload) => p.appendEvent("p", note({ payload }))],
    ["request.replayKey", idsIfGiven, (p, replayKey) => p.appendEvent("p", note({ replayKey }))],
    ["request.wakeTarget", noObject, (p, wakeTarget) => p.appendEvent("p", note({ wakeTarget }))],
    ["request.wakeTarget.sessionId", noId, (p, sessionId) => p.appendEvent("p", note({ wakeTarget: { sessionId } }))],
    ["request.lease", noObject, (p, v) => p.appendEvent("p", note({ lease: v }))],
    [
      "request.lease.processId",
      () => ({ ...noId(), "another process": "q" }),
      (p, processId) => p.appendEvent("p", note({ lease: lease({ processId }) })),
    ],
    ["request.lease.leaseToken", noId, (p, leaseToken) => p.appendEvent("p", note({ lease: lease({ leaseToken }) }))],
  ],
  eventsAfter: [
    ["processId", noId, (p, id) => p.eventsAfter(id, 0)],
    ["afterSequence", noCount, (p, n) => p.eventsAfter("p", n)],
    ["options", noObject, (p, v) => p.eventsAfter("p", 0, v)],
    ["options.limit", given(noCount), (p, limit) => p.eventsAfter("p", 0, { limit })],
  ],
  wakeEventsAfter: [
    ["processId", noId, (p, id) => p.wakeEventsAfter(id, 0)],
    ["afterSequence", noCount, (p, n) => p.wakeEventsAfter("p", n)],
  ],
  waitEventAfter: [
    ["processId", noId, (p, id) => p.waitEventAfter(id, "note", 0)],
    ["eventType", noId, (p, name) => p.waitEventAfter("p", name, 0)],
    ["afterSequence", noCount, (p, n) => p.waitEventAfter("p", "note", n)],
    ["options", noObject, (p, v) => p.waitEventAfter("p", "note", 0, v)],
    ["options.signal", noSignal, (p, signal) => p.waitEventAfter("p", "note", 0, { signal })],
  ],
  awaitProcess: [
    ["processId", noId, (p, id) => p.awaitProcess(id)],
    ["options", noObject, (p, v) => p.awaitProcess("p", v)],
    ["options.signal", noSignal, (p, signal) => p.awaitProcess("p", { signal })],
  ],
  signal: [
    ["processId", noId, (p, id) => p.signal(id, "go")],
    ["name", noId, (p, name) => p.signal("p", name)],
    ["payload", noJson, (p, payload) => p.signal("p", "go", payload)],
    ["options", noObject, (p, v) => p.signal("p", "go", null, v)],
    ["options.signalId", idsIfGiven, (p, signalId) => p.signal("p", "go", null, { signalId })],
  ],
  completeProcess: [
    ["processId", noId, (p, id) => p.completeProcess(id, success(1))],
    ["output", () => ({ ...json(), "an object": {}, "a text": "done" }), (p, v) => p.completeProcess("p", v)],
    ["output", json, (p, value) => p.completeProcess("p", { type: "success", value })],
    ["options", noObject, (p, v) => p.completeProcess("p", success(1), v)],
    ["options.lease", noObject, (p, v) => p.completeProcess("p", success(1), { lease: v })],
    [
      "options.lease.processId",
      () => ({ "another process": "q" }),
      (p, processId) => p.completeProcess("p", success(1), { lease: lease({ processId }) }),
    ],
  ],
  ackWake: [
    ["processId", noId, (p, id) => p.ackWake(id, 1)],
    ["sequence", noCount, (p, n) => p.ackWake("p", n)],
  ],
  getLease: [["processId", noId, (p, id) => p.getLease(id)]],
  claimProcessLease: [
    ["processId", noId, (p, id) => p.claimProcessLease(id, "a", 1)],
    ["ownerId", noId, (p, owner) => p.claimProcessLease("p", owner, 1)],
    [
      "ttlMs",
      () => ({ ...noCount(), "beyond any date": Number.MAX_SAFE_INTEGER }),
      (p, ttl) => p.claimProcessLease("p", "a", ttl),
    ],
  ],
  renewProcessLease: [
    ["lease", noObject, (p, v) => p.renewProcessLease(v, 1)],
    [
      "lease.schemaVersion",
      () => ({ ...noCount(), "another version": 2 }),
      (p, schemaVersion) => p.renewProcessLease(lease({ schemaVersion }), 1),
    ],
    ["lease.processId", noId, (p, processId) => p.renewProcessLease(lease({ processId }), 1)],
    ["lease.ownerId", noId, (p, ownerId) => p.renewProcessLease(lease({ ownerId }), 1)],
    ["lease.leaseToken", noId, (p, leaseToken) => p.renewProcessLease(lease({ leaseToken }), 1)],
    ["lease.fencingToken", noCount, (p, fencingToken) => p.renewProcessLease(lease({ fencingToken }), 1)],
    ["ttlMs", noCount, (p, ttl) => p.renewProcessLease(lease({}), ttl)],
  ],
  completeProcessLease: [
    ["completion", noObject, (p, v) => p.completeProcessLease(v)],
    ["completion.processId", noId, (p, processId) => p.completeProcessLease({ processId, leaseToken: "t" })],
    ["completion.leaseToken", noId, (p, leaseToken) => p.completeProcessLease({ processId: "p", leaseToken })],
  ],
} satisfies Record<Exclude<keyof ProcessRegistry, "durabilityTier">, Field[]>;
