import { mintLifecycleCommit } from "../../../domain/session/lifecycle-commit.js";
import type { RuntimeStore } from "../../../kernel/runtime-store.js";
import {
  given,
  hostileObjects,
  noBytes,
  noCount,
  noExactJson,
  noFlag,
  noId,
  noList,
  noObject,
  noText,
  noWord,
  type Values,
} from "../../kit/hostile.js";
import { DECISION, fullInput, input, PROMPT, RUNTIME, receipt, snapshot } from "../runtime.fixture.js";

/** Wrong values for an argument, and a call whose other arguments are right. */
export type RuntimeField = [field: string, values: () => Values, call: (runtime: RuntimeStore, value: never) => Promise<unknown>];

const required = (values: () => Values) => () => ({ undefined: undefined, ...values() });
const object = required(noObject);
const texts = given(() => ({ ...noText(), "a lone surrogate": "\ud800" }));
const lease = (more: object) => ({
  lease: {
    schemaVersion: 1,
    processId: "p",
    ownerId: "a",
    leaseToken: "t",
    fencingToken: 1,
    claimedAtMs: 0,
    expiresAtMs: 0,
    ...more,
  },
});
const delta = snapshot({ id: "s" });
const commit = () => mintLifecycleCommit("idle");

const persist = (runtime: RuntimeStore, more: object) => runtime.persistInputState(RUNTIME, { ...fullInput("new"), ...more });
const decide = (runtime: RuntimeStore, more: object) =>
  persist(runtime, { policy: { version: 1, decision: { ...DECISION, ...more } } });
const semantics = (runtime: RuntimeStore, more: object) =>
  persist(runtime, { runtimeSemantics: { boundary: "run_start", executionKind: "content_turn", ...more } });
const apply = (runtime: RuntimeStore, more: object) =>
  runtime.atomicApply(RUNTIME, delta, { ...receipt(), ...more } as never, []);

const fenced = (call: (runtime: RuntimeStore, fence: never) => Promise<unknown>): RuntimeField[] => [
  ["fence", noObject, call],
  ["fence.lease", noObject, (r, v) => call(r, { lease: v } as never)],
  ["fence.lease.processId", noId, (r, processId) => call(r, lease({ processId }) as never)],
  ["fence.lease.ownerId", noId, (r, ownerId) => call(r, lease({ ownerId }) as never)],
  ["fence.lease.leaseToken", noId, (r, leaseToken) => call(r, lease({ leaseToken }) as never)],
  ["fence.lease.fencingToken", noCount, (r, fencingToken) => call(r, lease({ fencingToken }) as never)],
];

/** Every member of a stored input. */
const STATE: RuntimeField[] = [
  ["state", object, (r, v) => r.persistInputState(RUNTIME, v)],
  ["state.inputId", noId, (r, inputId) => persist(r, { inputId })],
  ["state.currentState", noWord, (r, currentState) => persist(r, { currentState })],
  ["state.policy", noObject, (r, policy) => persist(r, { policy })],
  ["state.policy.version", noCount, (r, version) => persist(r, { policy: { version, decision: DECISION } })],
  ["state.policy.decision", object, (r, decision) => persist(r, { policy: { version: 1, decision } })],
  ["state.policy.decision.applyMode", noWord, (r, applyMode) => decide(r, { applyMode })],
  ["state.policy.decision.wakeMode", noWord, (r, wakeMode) => decide(r, { wakeMode })],
  ["state.policy.decision.queueMode", noWord, (r, queueMode) => decide(r, { queueMode })],
  ["state.policy.decision.consumePoint", noWord, (r, consumePoint) => decide(r, { consumePoint })],
  ["state.policy.decision.drainPolicy", given(noWord), (r, drainPolicy) => decide(r, { drainPolicy })],
  ["state.policy.decision.routingDisposition", given(noWord), (r, v) => decide(r, { routingDisposition: v })],
  ["state.policy.decision.recordTranscript", noFlag, (r, recordTranscript) => decide(r, { recordTranscript })],
  ["state.policy.decision.emitOperatorContent", noFlag, (r, v) => decide(r, { emitOperatorContent: v })],
  ["state.policy.decision.policyVersion", noCount, (r, policyVersion) => decide(r, { policyVersion })],
  ["state.runtimeSemantics", noObject, (r, runtimeSemantics) => persist(r, { runtimeSemantics })],
  ["state.runtimeSemantics.boundary", noWord, (r, boundary) => semantics(r, { boundary })],
  ["state.runtimeSemantics.executionKind", noWord, (r, executionKind) => semantics(r, { executionKind })],
  [
    "state.runtimeSemantics.peerResponseTerminalApplyIntent",
    given(() => ({ ...noWord(), null: undefined })),
    (r, v) => semantics(r, { peerResponseTerminalApplyIntent: v }),
  ],
  ["state.terminalOutcome", noObject, (r, terminalOutcome) => persist(r, { terminalOutcome })],
  ["state.terminalOutcome.outcomeType", noWord, (r, outcomeType) => persist(r, { terminalOutcome: { outcomeType } })],
  [
    "state.terminalOutcome.supersededBy",
    noId,
    (r, supersededBy) => persist(r, { terminalOutcome: { outcomeType: "superseded", supersededBy } }),
  ],
  [
    "state.terminalOutcome.aggregateId",
    noId,
    (r, aggregateId) => persist(r, { terminalOutcome: { outcomeType: "coalesced", aggregateId } }),
  ],
  ["state.terminalOutcome.reason", noWord, (r, reason) => persist(r, { terminalOutcome: { outcomeType: "abandoned", reason } })],
  [
    "state.terminalOutcome.reason.max_attempts_exhausted.attempts",
    noCount,
    (r, attempts) =>
      persist(r, { terminalOutcome: { outcomeType: "abandoned", reason: { max_attempts_exhausted: { attempts } } } }),
  ],
  ["state.durability", given(noWord), (r, durability) => persist(r, { durability })],
  ["state.idempotencyKey", given(noId), (r, idempotencyKey) => persist(r, { idempotencyKey })],
  ["state.attemptCount", given(noCount), (r, attemptCount) => persist(r, { attemptCount })],
  ["state.recoveryCount", given(noCount), (r, recoveryCount) => persist(r, { recoveryCount })],
  ["state.history", given(noList), (r, history) => persist(r, { history })],
  ["state.history/0", object, (r, v) => persist(r, { history: [v] })],
  [
    "state.history/0.timestampMs",
    noCount,
    (r, timestampMs) => persist(r, { history: [{ timestampMs, from: "queued", to: "staged" }] }),
  ],
  ["state.history/0.from", noWord, (r, from) => persist(r, { history: [{ timestampMs: 1, from, to: "staged" }] })],
  ["state.history/0.to", noWord, (r, to) => persist(r, { history: [{ timestampMs: 1, from: "queued", to }] })],
  [
    "state.history/0.reason",
    texts,
    (r, reason) => persist(r, { history: [{ timestampMs: 1, from: "queued", to: "staged", reason }] }),
  ],
  ["state.reconstructionSource", noObject, (r, reconstructionSource) => persist(r, { reconstructionSource })],
  ["state.reconstructionSource.sourceType", noWord, (r, sourceType) => persist(r, { reconstructionSource: { sourceType } })],
  [
    "state.reconstructionSource.ruleId",
    noId,
    (r, ruleId) => persist(r, { reconstructionSource: { sourceType: "projection", ruleId, sourceEventId: "e" } }),
  ],
  [
    "state.reconstructionSource.sourceEventId",
    noId,
    (r, sourceEventId) => persist(r, { reconstructionSource: { sourceType: "projection", ruleId: "r", sourceEventId } }),
  ],
  [
    "state.reconstructionSource.sourceInputIds",
    noList,
    (r, sourceInputIds) => persist(r, { reconstructionSource: { sourceType: "coalescing", sourceInputIds } }),
  ],
  ["state.persistedInput", noObject, (r, persistedInput) => persist(r, { persistedInput })],
  ["state.persistedInput", noExactJson, (r, x) => persist(r, { persistedInput: { ...PROMPT, x } })],
  ["state.persistedInput.inputType", () => wrongTypes(), (r, inputType) => persist(r, { persistedInput: { inputType } })],
  ["state.lastRunId", given(noId), (r, lastRunId) => persist(r, { lastRunId })],
  ["state.lastBoundarySequence", given(noCount), (r, v) => persist(r, { lastBoundarySequence: v })],
  ["state.createdAtMs", noCount, (r, createdAtMs) => persist(r, { createdAtMs })],
  ["state.updatedAtMs", noCount, (r, updatedAtMs) => persist(r, { updatedAtMs })],
];

/** A value that is no JSON is refused before its type is checked. */
function wrongTypes(): Values {
  return { null: null, "a number": 1, "a list": ["prompt"], "an empty text": "", "a name of every object": "constructor" };
}

/** Objects that look like a lifecycle commit, as a caller can make them. */
function noCommit(): Values {
  const real = commit();
  const Known = real.constructor as unknown as new () => object;
  return {
    ...noObject(),
    undefined: undefined,
    "a list of one": [real],
    "a state": "idle",
    "one by hand": { runtimeState: "idle" },
    "one by hand, in its dress": Object.create(Object.getPrototypeOf(real), { runtimeState: { value: "idle" } }),
    "one of its class": new Known(),
    "one of an heir": new (class extends Known {})(),
    "an heir of a real one": Object.create(real),
    "a copy of a real one": structuredClone(real),
    "a spread of a real one": { ...real },
    "a Proxy of a real one": new Proxy(real, {}),
    ...hostileObjects(),
  };
}

/** Every argument of the methods for snapshots, receipts, inputs and state. */
export const RUNTIME_FIELDS = {
  commitSessionSnapshot: [
    ["runtimeId", noId, (r, id) => r.commitSessionSnapshot(id, delta)],
    ["delta", object, (r, v) => r.commitSessionSnapshot(RUNTIME, v)],
    ["delta.sessionSnapshot", noBytes, (r, sessionSnapshot) => r.commitSessionSnapshot(RUNTIME, { sessionSnapshot })],
  ],
  atomicApply: [
    ["runtimeId", noId, (r, id) => r.atomicApply(id, delta, receipt(), [])],
    ["delta", noObject, (r, v) => r.atomicApply(RUNTIME, v, receipt(), [])],
    ["delta.sessionSnapshot", noBytes, (r, v) => r.atomicApply(RUNTIME, { sessionSnapshot: v }, receipt(), [])],
    ["receipt", object, (r, v) => r.atomicApply(RUNTIME, delta, v, [])],
    ["receipt.runId", noId, (r, runId) => apply(r, { runId })],
    ["receipt.boundary", noWord, (r, boundary) => apply(r, { boundary })],
    ["receipt.contributingInputIds", noList, (r, v) => apply(r, { contributingInputIds: v })],
    ["receipt.contributingInputIds/1", noId, (r, id) => apply(r, { contributingInputIds: ["a", id] })],
    ["receipt.conversationDigest", given(noId), (r, v) => apply(r, { conversationDigest: v })],
    ["receipt.messageCount", noCount, (r, messageCount) => apply(r, { messageCount })],
    ["inputUpdates", noList, (r, v) => r.atomicApply(RUNTIME, delta, receipt(), v)],
    ["inputUpdates/1.inputId", noId, (r, id) => r.atomicApply(RUNTIME, delta, receipt(), [fullInput("new"), input(id)])],
    ["sessionStoreKey", given(noId), (r, key) => r.atomicApply(RUNTIME, delta, receipt(), [], key)],
    ...fenced((r, fence) => r.atomicApply(RUNTIME, delta, receipt(), [fullInput("new")], "s", fence)),
  ],
  loadInputStates: [["runtimeId", noId, (r, id) => r.loadInputStates(id)]],
  loadBoundaryReceipt: [
    ["runtimeId", noId, (r, id) => r.loadBoundaryReceipt(id, "run", 0)],
    ["runId", noId, (r, id) => r.loadBoundaryReceipt(RUNTIME, id, 0)],
    ["sequence", noCount, (r, sequence) => r.loadBoundaryReceipt(RUNTIME, "run", sequence)],
  ],
  loadSessionSnapshot: [["runtimeId", noId, (r, id) => r.loadSessionSnapshot(id)]],
  persistInputState: [
    ["runtimeId", noId, (r, id) => r.persistInputState(id, fullInput("new"))],
    ...STATE,
    ...fenced((r, fence) => r.persistInputState(RUNTIME, fullInput("new"), fence)),
  ],
  loadInputState: [
    ["runtimeId", noId, (r, id) => r.loadInputState(id, "a")],
    ["inputId", noId, (r, id) => r.loadInputState(RUNTIME, id)],
  ],
  loadRuntimeState: [["runtimeId", noId, (r, id) => r.loadRuntimeState(id)]],
  commitMachineLifecycle: [
    ["runtimeId", noId, (r, id) => r.commitMachineLifecycle(id, commit(), [])],
    ["commit", noCommit, (r, v) => r.commitMachineLifecycle(RUNTIME, v, [fullInput("new")])],
    ["inputStates", noList, (r, v) => r.commitMachineLifecycle(RUNTIME, commit(), v)],
    ["inputStates/1.inputId", noId, (r, id) => r.commitMachineLifecycle(RUNTIME, commit(), [fullInput("new"), input(id)])],
    ...fenced((r, fence) => r.commitMachineLifecycle(RUNTIME, commit(), [fullInput("new")], fence)),
  ],
} satisfies Record<string, RuntimeField[]>;
