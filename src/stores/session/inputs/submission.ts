import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { guarded } from "../../../domain/admit.js";
import { checkBytes, checkId, checkList, checkObject, checkOneOf, membersOf, someMembersOf } from "../../../domain/check.js";
import { invalid } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import {
  INPUT_DURABILITIES,
  INPUT_TYPES,
  type InputDurability,
  type InputKind,
  type InputType,
  type PersistedInput,
} from "../../../domain/session/input.js";
import type { Limits } from "../../../domain/time.js";
import { admitPayload } from "../../process/registration.js";
import { type HandlingMode, kindOf } from "./policy.rules.js";

/**
 * What an app submits to a session. Other fields than the named ones are the app's own JSON and are stored with it.
 * An image is a block `{ type: "image", data, ... }`, with `data` as base64 or bytes. Its bytes are stored beside the input, and
 * `data` becomes `blob`, the SHA-256 of the bytes as hex.
 */
export type InputSubmission =
  | PromptSubmission
  | (SubmissionHeader & {
      inputType: "external_event" | "continuation" | "peer" | "flow_step" | "operation";
      [field: string]: unknown;
    });

/** What a user asks. A session rejects none that has this type. */
export type PromptSubmission = SubmissionHeader & {
  inputType: "prompt";
  text: string;
  /** A prompt cannot be derived again. */
  durability?: Exclude<InputDurability, "derived">;
  [field: string]: unknown;
};

/** What every kind of submission may say beside its own fields. */
export interface SubmissionHeader {
  /** Default: a new UUIDv7. An id that is stored already is refused with `conflict`. */
  inputId?: string;
  /**
   * A submission with the same key is answered with the input that the key stands for, even if that has ended; but if that was given up,
   * for any reason but `cancelled`, the key stands for the new input from then on.
   */
  idempotencyKey?: string;
  /** Default "durable". "ephemeral": removed when it has ended, or when the tab that submitted it is gone. */
  durability?: InputDurability;
  /** A newer input of the same kind and key may replace one that still waits. The policy decides for which kinds. */
  supersessionKey?: string;
  correlationId?: string;
  source?: { type: "operator" | "peer" | "flow" | "system" | "external"; [field: string]: unknown };
  visibility?: { transcriptEligible?: boolean; operatorEligible?: boolean };
  /** Its lane: "queue" waits in order, "steer" goes before the queue. */
  handlingMode?: HandlingMode;
  blocks?: readonly unknown[];
}

/** A checked copy of a submission: all that a transaction needs to know of it. */
export interface PreparedInput {
  readonly inputId: string | undefined;
  readonly kind: InputKind;
  readonly persisted: PersistedInput;
  readonly durability: InputDurability;
  readonly idempotencyKey?: string;
  readonly supersessionKey?: string;
  readonly handlingMode?: HandlingMode;
  /** The intent of a peer's request. */
  readonly intent?: string;
  readonly blobs: readonly InputBlob[];
  /** Why a session does not take it, although it is well formed. */
  readonly rejection?: Rejection;
}

export interface InputBlob {
  readonly hash: string;
  readonly bytes: Uint8Array;
}

export type Rejection = "durability_violation" | "peer_handling_mode_invalid" | "peer_response_terminal_invalid";

const SOURCES = ["operator", "peer", "flow", "system", "external"] as const;
const USUAL_SOURCE: Readonly<Record<InputType, (typeof SOURCES)[number]>> = {
  prompt: "operator",
  peer: "peer",
  flow_step: "flow",
  external_event: "external",
  continuation: "system",
  operation: "system",
};
const MOST_BLOCKS = 1_024;

/** Throws `invalid` naming the field. */
export function prepareSubmission(value: unknown, limits: Limits): PreparedInput {
  checkObject("input", value);
  const names = guarded("input", () => Object.keys(value));
  const { inputId, idempotencyKey, durability: givenDurability, blocks, ...rest } = membersOf("input", value, names);
  const { blocks: stored, blobs } = takeImages(blocks, limits);
  const inputType = checkOneOf("input.inputType", rest.inputType, INPUT_TYPES);
  if (inputType === "prompt" && typeof rest.text !== "string") throw invalid("input.text must be a string");
  const id = (field: string, member: unknown) => checkId(`input.${field}`, member, limits.idLength);
  // Ids are checked before the rest, in which lone surrogates are replaced.
  if (rest.correlationId !== undefined) id("correlationId", rest.correlationId);
  const supersessionKey = rest.supersessionKey === undefined ? undefined : id("supersessionKey", rest.supersessionKey);
  const fields = admitPayload({ ...rest, ...(stored && { blocks: stored }) }, "input", limits) as Record<string, JsonValue>;
  const persisted: PersistedInput = {
    ...fields,
    inputType,
    source: sourceOf(fields.source, inputType),
    visibility: visibilityOf(fields.visibility),
  };
  const handlingMode =
    fields.handlingMode === undefined
      ? undefined
      : checkOneOf<HandlingMode>("input.handlingMode", fields.handlingMode, ["queue", "steer"]);
  const kind = kindOf(persisted);
  if (!kind) {
    throw invalid("input.convention.conventionType must be one of message, request, response_progress, response_terminal");
  }
  const durability =
    givenDurability === undefined ? "durable" : checkOneOf("input.durability", givenDurability, INPUT_DURABILITIES);
  const intent = conventionOf(persisted)?.intent;
  const rejection = rejectionOf(persisted, kind, durability, handlingMode);
  return {
    inputId: inputId === undefined ? undefined : id("inputId", inputId),
    kind,
    persisted,
    durability,
    ...(idempotencyKey !== undefined && { idempotencyKey: id("idempotencyKey", idempotencyKey) }),
    ...(supersessionKey !== undefined && { supersessionKey }),
    ...(handlingMode !== undefined && { handlingMode }),
    ...(typeof intent === "string" && { intent }),
    blobs,
    ...(rejection && { rejection }),
  };
}

function sourceOf(value: JsonValue | undefined, inputType: InputType): JsonValue {
  if (value === undefined) return { type: USUAL_SOURCE[inputType] };
  const { type } = someMembersOf("input.source", value, ["type"]);
  checkOneOf("input.source.type", type, SOURCES);
  return value;
}

function visibilityOf(value: JsonValue | undefined): JsonValue {
  const { transcriptEligible = true, operatorEligible = true } =
    value === undefined ? {} : membersOf("input.visibility", value, ["transcriptEligible", "operatorEligible"]);
  for (const [name, member] of Object.entries({ transcriptEligible, operatorEligible })) {
    if (typeof member !== "boolean") throw invalid(`input.visibility.${name} must be a boolean`);
  }
  return { transcriptEligible, operatorEligible } as { [name: string]: JsonValue };
}

/** Why a session does not take the input, if so. A derived input must come from the system or a flow, and be of a kind that can be derived again. */
function rejectionOf(
  persisted: PersistedInput,
  kind: InputKind,
  durability: InputDurability,
  mode: HandlingMode | undefined,
): Rejection | undefined {
  if (durability === "derived") {
    const { type } = persisted.source as { type: string };
    const isPlainPeer = persisted.inputType === "peer" && persisted.convention === undefined;
    const isDerivable = isPlainPeer || ["peer_response_progress", "external_event", "continuation", "operation"].includes(kind);
    if (!isDerivable || (type !== "system" && type !== "flow")) return "durability_violation";
  }
  if (kind === "peer_response_progress" && mode !== undefined) return "peer_handling_mode_invalid";
  if (kind === "peer_response_terminal") {
    const requestId = conventionOf(persisted)?.requestId;
    if (typeof requestId !== "string" || requestId.trim() === "") return "peer_response_terminal_invalid";
  }
  return undefined;
}

function conventionOf({ convention }: PersistedInput): { [field: string]: JsonValue } | undefined {
  return typeof convention === "object" && convention !== null && !Array.isArray(convention) ? convention : undefined;
}

/** Takes the images out of the blocks: large bytes do not belong in JSON, and the same image is stored only once. */
function takeImages(value: unknown, limits: Limits): { blocks?: unknown[]; blobs: InputBlob[] } {
  if (value === undefined) return { blobs: [] };
  const blobs: InputBlob[] = [];
  const blocks = checkList("input.blocks", value, MOST_BLOCKS).map((block, at) => {
    const field = `input.blocks/${at}`;
    checkObject(field, block);
    const { data, ...rest } = membersOf(field, block, [...new Set([...guarded(field, () => Object.keys(block)), "type"])]);
    if (rest.type !== "image" || data === undefined) return data === undefined ? rest : { ...rest, data };
    const bytes = imageBytes(`${field}/data`, data, limits.snapshotBytes);
    const hash = bytesToHex(sha256(bytes));
    blobs.push({ hash, bytes });
    return { ...rest, blob: hash };
  });
  return { blocks, blobs };
}

function imageBytes(field: string, data: unknown, most: number): Uint8Array {
  if (typeof data !== "string") return checkBytes(field, data, most);
  const rule = `${field} must be base64 text or a Uint8Array of at most ${most} bytes`;
  // The length is checked before decoding: a text of twice as many characters is too long in any case.
  if (data.length > most * 2) throw invalid(rule);
  const bytes = guarded(field, () => Uint8Array.from(atob(data), (char) => char.charCodeAt(0)));
  if (bytes.byteLength > most) throw invalid(rule);
  return bytes;
}
