import { admitJson, guarded } from "../../domain/admit.js";
import { checkId, checkList, checkObject, checkOneOf, checkText, membersOf, someMembersOf } from "../../domain/check.js";
import { invalid } from "../../domain/errors.js";
import type { JsonValue } from "../../domain/json.js";
import {
  isCoreEventType,
  type ProcessEventType,
  type TerminalSpec,
  type ValueSelector,
  type WakeSpec,
} from "../../domain/process/event-type.js";
import type { CausalRef, ProcessHandleDescriptor, ProcessInput, ProcessProvenance } from "../../domain/process/process.js";
import { isRuntimeId } from "../../domain/runtime-id.js";
import { checkScope } from "../../domain/scope.js";
import type { Limits } from "../../domain/time.js";
import type { PayloadSchemas } from "./payload-schema.js";
import { type PreparedRegistration, prepared } from "./processes.rules.js";

/** The caller's registration, read once: each member is checked and copied, defaults are filled in. Throws `invalid`, which names the member. */
export async function prepareRegistration(
  field: string,
  value: unknown,
  limits: Limits,
  schemas: PayloadSchemas,
): Promise<PreparedRegistration> {
  const m = membersOf(field, value, ["id", "input", "eventTypes", "provenance"]);
  const registration = {
    id: checkProcessId(`${field}.id`, m.id, limits),
    input: checkProcessInput(`${field}.input`, m.input, limits),
    eventTypes: checkEventTypes(`${field}.eventTypes`, m.eventTypes === undefined ? [] : m.eventTypes, limits),
    provenance: checkProvenance(`${field}.provenance`, m.provenance, limits),
  };
  for (const [at, { payloadSchema }] of registration.eventTypes.entries()) {
    if (payloadSchema === undefined) continue;
    (await schemas.load()).check(`${field}.eventTypes/${at}/payloadSchema`, payloadSchema);
  }
  return prepared(registration);
}

/** An id that looks like a runtime id is refused: a session's executor holds its lease under the runtime's id. */
function checkProcessId(field: string, value: unknown, limits: Limits): string {
  const id = checkId(field, value, limits.idLength);
  if (isRuntimeId(id)) throw invalid(`${field} must not begin like the id of a session's runtime`);
  return id;
}

/** JSON of the app's own: a result, arguments, a payload. */
export function admitPayload(value: unknown, field: string, limits: Limits): JsonValue {
  return admitJson(value, field, { maxBytes: limits.payloadBytes, maxDepth: limits.depth, mends: true });
}

export function checkDescriptor(field: string, value: unknown, limits: Limits): ProcessHandleDescriptor {
  if (value === undefined) return {};
  const { kind, label } = membersOf(field, value, ["kind", "label"]);
  return {
    ...(kind !== undefined && { kind: checkText(`${field}.kind`, kind, limits.idLength) }),
    ...(label !== undefined && { label: checkText(`${field}.label`, label, limits.idLength) }),
  };
}

/** The members that each type of input has. */
const INPUT_MEMBERS = {
  task: ["name", "args"],
  tool_call: ["call"],
  session_turn: ["sessionId", "input"],
  external: ["metadata"],
} as const satisfies Record<ProcessInput["type"], readonly string[]>;

function checkProcessInput(field: string, value: unknown, limits: Limits): ProcessInput {
  const m = membersOf(field, value, ["type", ...Object.values(INPUT_MEMBERS).flat()]);
  const type = checkOneOf(`${field}.type`, m.type, ["task", "tool_call", "session_turn", "external"]);
  membersOf(field, m, ["type", ...INPUT_MEMBERS[type]]);
  const id = (name: string, given: unknown) => checkId(`${field}.${name}`, given, limits.idLength);
  const json = (name: string, given: unknown) => admitPayload(given, `${field}.${name}`, limits);
  switch (type) {
    case "task":
      return { type: "task", name: id("name", m.name), ...(m.args !== undefined && { args: json("args", m.args) }) };
    case "tool_call": {
      const call = membersOf(`${field}.call`, m.call, ["callId", "toolName", "args"]);
      return {
        type: "tool_call",
        call: {
          callId: id("call.callId", call.callId),
          toolName: id("call.toolName", call.toolName),
          args: json("call.args", call.args),
        },
      };
    }
    case "session_turn":
      return { type: "session_turn", sessionId: id("sessionId", m.sessionId), input: json("input", m.input) };
    case "external":
      return { type: "external", metadata: json("metadata", m.metadata) };
  }
}

function checkEventTypes(field: string, value: unknown, limits: Limits): ProcessEventType[] {
  const types = checkList(field, value, limits.eventTypes).map((type, at) => checkEventType(`${field}/${at}`, type, limits));
  const names = new Set<string>();
  for (const { name } of types) {
    if (names.has(name)) throw invalid(`${field} declares duplicate event type "${name}"`);
    names.add(name);
  }
  return types;
}

function checkEventType(field: string, value: unknown, limits: Limits): ProcessEventType {
  const m = membersOf(field, value, ["name", "payloadSchema", "semantics"]);
  if (typeof m.name === "string" && m.name.trim() === "") throw invalid(`${field}.name declares an empty event type`);
  const name = checkId(`${field}.name`, m.name, limits.idLength);
  if (isCoreEventType(name)) throw invalid(`${field}.name redeclares the core event type "${name}"`);
  return {
    name,
    ...(m.payloadSchema !== undefined && {
      payloadSchema: admitJson(m.payloadSchema, `${field}.payloadSchema`, {
        maxBytes: limits.schemaBytes,
        maxDepth: limits.depth,
      }) as NonNullable<ProcessEventType["payloadSchema"]>,
    }),
    ...(m.semantics !== undefined && { semantics: checkEventSemantics(`${field}.semantics`, m.semantics, limits) }),
  };
}

function checkEventSemantics(field: string, value: unknown, limits: Limits): NonNullable<ProcessEventType["semantics"]> {
  const { terminal, wake } = membersOf(field, value, ["terminal", "wake"]);
  return {
    ...(terminal !== undefined && { terminal: checkTerminal(`${field}.terminal`, terminal, limits) }),
    ...(wake !== undefined && { wake: checkWake(`${field}.wake`, wake, limits) }),
  };
}

function checkTerminal(field: string, value: unknown, limits: Limits): TerminalSpec {
  const m = membersOf(field, value, ["state", "awaitOutput"]);
  const state = checkOneOf(`${field}.state`, m.state, ["completed", "failed", "cancelled"]);
  if (m.awaitOutput === undefined) {
    if (state !== "completed") throw invalid(`${field}.awaitOutput: a ${state} type must declare await output`);
    return { state };
  }
  return { state, awaitOutput: checkSelector(`${field}.awaitOutput`, m.awaitOutput, limits) };
}

function checkWake(field: string, value: unknown, limits: Limits): WakeSpec {
  const { when, input, dedupeKey } = membersOf(field, value, ["when", "input", "dedupeKey"]);
  return {
    ...(when !== undefined && { when: checkSelector(`${field}.when`, when, limits) }),
    input: checkSelector(`${field}.input`, input, limits),
    ...(dedupeKey !== undefined && { dedupeKey: checkDedupeKey(`${field}.dedupeKey`, dedupeKey, limits) }),
  };
}

function checkDedupeKey(field: string, value: unknown, limits: Limits): NonNullable<WakeSpec["dedupeKey"]> {
  if (value === "event_identity") return value;
  const m = membersOf(field, value, ["selector", "const"]);
  if (m.selector !== undefined && m.const === undefined)
    return { selector: checkSelector(`${field}.selector`, m.selector, limits) };
  if (m.selector !== undefined) throw invalid(`${field} must be either a selector or a const`);
  return { const: checkText(`${field}.const`, m.const, limits.idLength) };
}

function checkSelector(field: string, value: unknown, limits: Limits, depth = 0): ValueSelector {
  if (value === "payload") return value;
  if (depth > limits.depth) throw invalid(`${field} is nested too deep`);
  const m = membersOf(field, value, ["pointer", "const", "template", "fields", "present"]);
  const kinds = (["pointer", "const", "template", "present"] as const).filter((kind) => m[kind] !== undefined);
  if (kinds.length !== 1) throw invalid(`${field} must be "payload" or have exactly one of pointer, const, template and present`);
  if (kinds[0] !== "template") membersOf(field, m, kinds);
  const text = (name: "pointer" | "template" | "present") => checkText(`${field}.${name}`, m[name], limits.schemaBytes);
  switch (kinds[0]) {
    case "pointer":
      return { pointer: text("pointer") };
    case "present":
      return { present: text("present") };
    case "const":
      return { const: admitPayload(m.const, `${field}.const`, limits) };
    default:
      return { template: text("template"), fields: checkFields(`${field}.fields`, m.fields, limits, depth) };
  }
}

function checkFields(field: string, value: unknown, limits: Limits, depth: number): Record<string, ValueSelector> {
  checkObject(field, value);
  const names = guarded(field, () => Object.keys(value));
  if (names.length > limits.eventTypes) throw invalid(`${field} must have at most ${limits.eventTypes} members`);
  if (names.includes("__proto__")) throw invalid(`${field}/__proto__ is not allowed as a key`);
  const members = Object.entries(membersOf(field, value, names)).filter(([, member]) => member !== undefined);
  return Object.fromEntries(
    members.map(([name, member]) => [name, checkSelector(`${field}/${name}`, member, limits, depth + 1)]),
  );
}

function checkProvenance(field: string, value: unknown, limits: Limits): ProcessProvenance {
  if (value === undefined) return { ownerScope: { sessionId: "root" }, hostProfileId: "default" };
  const { ownerScope, hostProfileId, causedBy } = membersOf(field, value, ["ownerScope", "hostProfileId", "causedBy"]);
  const { sessionId } = someMembersOf(`${field}.ownerScope`, ownerScope, ["sessionId"]);
  if (typeof sessionId === "string" && sessionId.trim() === "")
    throw invalid(`${field}.ownerScope.sessionId: the owner scope must include a session id`);
  if (typeof hostProfileId === "string" && hostProfileId.trim() === "")
    throw invalid(`${field}.hostProfileId: the host profile id must be non-empty`);
  return {
    ownerScope: checkScope(`${field}.ownerScope`, ownerScope, limits.idLength),
    hostProfileId: checkId(`${field}.hostProfileId`, hostProfileId, limits.idLength),
    ...(causedBy !== undefined && { causedBy: checkCausalRef(`${field}.causedBy`, causedBy, limits) }),
  };
}

const CAUSES = ["turn", "effect", "tool_call", "process", "process_event", "host_event", "session_node"] as const;

function checkCausalRef(field: string, value: unknown, limits: Limits): CausalRef {
  // It names things by their ids: these are not mended.
  const admitted = admitJson(value, field, { maxBytes: limits.payloadBytes, maxDepth: limits.depth });
  if (typeof admitted !== "object" || admitted === null || Array.isArray(admitted)) throw invalid(`${field} must be an object`);
  return { ...admitted, type: checkOneOf(`${field}.type`, admitted.type, CAUSES) };
}
