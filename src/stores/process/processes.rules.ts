import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import { HoldfastError } from "../../domain/errors.js";
import { canonicalText, type JsonValue } from "../../domain/json.js";
import { coreEventTypes } from "../../domain/process/event-type.js";
import {
  handlerOf,
  type ProcessExternalRef,
  type ProcessHandleDescriptor,
  type ProcessInput,
  type ProcessProgress,
  type ProcessRecord,
  type ProcessRegistration,
  runnableBy,
} from "../../domain/process/process.js";
import type { ProcessWait } from "../../domain/process/wait.js";
import { type ProcessScope, scopeId } from "../../domain/scope.js";
import type { Write } from "../../ports/storage.js";
import { ROW_VERSION } from "../table.js";
import { attemptsIn } from "./runs/attempts.rules.js";
import type { GrantRow, ProcessRow, RegistrationRow } from "./tables.js";
import { byKey } from "./waits/waits.rules.js";

type CheckedRegistration = Required<Omit<ProcessRegistration, "input">> & { input: ProcessInput };

/** A checked registration with its defaults filled in. The hash covers exactly that. `size` is in characters. */
export type PreparedRegistration = CheckedRegistration & { registrationHash: string; size: number };

export function hashOfJson(value: JsonValue): string {
  return hashOfText(canonicalText(value));
}

function hashOfText(text: string): string {
  return bytesToHex(sha256(utf8ToBytes(text)));
}

export function prepared(registration: CheckedRegistration): PreparedRegistration {
  const { id, input, eventTypes, provenance } = registration;
  const text = canonicalText({ id, input, eventTypes, provenance } as unknown as JsonValue);
  return { ...registration, registrationHash: hashOfText(text), size: text.length };
}

export function newProcess(
  registration: PreparedRegistration,
  nowMs: number,
): { process: ProcessRow; registration: RegistrationRow } {
  const { id: processId, input, eventTypes, provenance, registrationHash } = registration;
  const handler = handlerOf(input);
  const runnable = runnableBy(input.type, handler);
  return {
    process: {
      v: ROW_VERSION,
      processId,
      registrationHash,
      provenance,
      ...(handler !== undefined && { handler }),
      inputType: input.type,
      ...(runnable !== undefined && { runnable }),
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
      ...(input.type === "external" && { externalAtMs: nowMs }),
      state: "running",
      lastSequence: 0,
    },
    registration: { v: ROW_VERSION, processId, sessionId: provenance.ownerScope.sessionId, input, eventTypes },
  };
}

/** True for the same registration again, which changes nothing. Another registration under the same id is refused. */
export function sameRegistration(
  stored: { process: ProcessRow; registration: RegistrationRow },
  given: PreparedRegistration,
): true | HoldfastError {
  const { processId, registrationHash, provenance } = stored.process;
  if (registrationHash === given.registrationHash) return true;
  const { input, eventTypes } = stored.registration;
  const { input: givenInput, eventTypes: givenTypes, provenance: givenProvenance } = given;
  const path = firstDifference(
    { input, eventTypes, provenance },
    { input: givenInput, eventTypes: givenTypes, provenance: givenProvenance },
  );
  const where = path === undefined ? "" : `, ${path} differs`;
  return new HoldfastError("conflict", `process "${processId}" is registered otherwise: registration hash conflict${where}`, {
    details: { processId, ...(path !== undefined && { path }) },
  });
}

/** The path of the first member that only one of them has, or that is not equal in both. It is named, and never its values. */
function firstDifference(stored: unknown, given: unknown, path = ""): string | undefined {
  if (!isHolder(stored) || !isHolder(given)) return stored === given ? undefined : path;
  for (const name of Object.keys({ ...stored, ...given })) {
    const below = `${path}${/^(input(\.call)?|provenance(\.ownerScope)?)$/.test(path) ? "." : path && "/"}${name}`;
    const found = firstDifference(memberOf(stored, name), memberOf(given, name), below);
    if (found) return found;
  }
  return undefined;
}

const isHolder = (value: unknown): value is object => typeof value === "object" && value !== null;

const memberOf = (holder: object, name: string): unknown => Object.getOwnPropertyDescriptor(holder, name)?.value;

export function processRecordOf(
  process: ProcessRow,
  registration: RegistrationRow,
  waits: readonly ProcessWait[] = [],
): ProcessRecord {
  const { state, awaitOutput } = process;
  const { eventTypes } = registration;
  const tries = attemptsIn(process);
  const waiting = [...tries.waiting, ...waits].sort(byKey);
  return {
    id: process.processId,
    registrationHash: process.registrationHash,
    input: registration.input,
    eventTypes: [...eventTypes, ...coreEventTypes().filter(({ name }) => !eventTypes.some((type) => type.name === name))],
    provenance: process.provenance,
    createdAtMs: process.createdAtMs,
    updatedAtMs: process.updatedAtMs,
    ...(process.externalRef && { externalRef: process.externalRef }),
    status: state === "running" || !awaitOutput ? { state: "running" } : { state, awaitOutput },
    ...(process.progress && { progress: process.progress }),
    ...(waiting.length > 0 && { waiting }),
    ...(process.suspended && { suspended: true }),
    ...(tries.attempts && { attempts: tries.attempts }),
    ...(process.startAtMs !== undefined && { startAtMs: process.startAtMs }),
  };
}

export function withExternalRef(process: ProcessRow, externalRef: ProcessExternalRef, nowMs: number): ProcessRow {
  return { ...process, externalRef, updatedAtMs: nowMs, ...(process.externalAtMs !== undefined && { externalAtMs: nowMs }) };
}

export function withProgress(process: ProcessRow, progress: Omit<ProcessProgress, "atMs">, nowMs: number): ProcessRow {
  return { ...process, progress: { ...progress, atMs: nowMs }, updatedAtMs: nowMs };
}

export function grantWrite(scope: ProcessScope, processId: string, descriptor: ProcessHandleDescriptor): Write {
  const row: GrantRow = { v: ROW_VERSION, scopeId: scopeId(scope), processId, sessionId: scope.sessionId, descriptor };
  return { table: "grants", put: row };
}

export function unknownProcess(processId: string): HoldfastError {
  return new HoldfastError("not-found", `unknown process "${processId}"`, { details: { processId } });
}
