import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { JsonValue } from "../../../domain/json.js";
import type { LimitSpec } from "../../../domain/process/limit.js";
import type { RetryPolicy } from "../../../domain/retry.rules.js";

/** Schemas of any library that keeps to Standard Schema (zod, valibot, arktype and others), by the name of the event or signal. */
export interface Schemas {
  readonly [name: string]: StandardSchemaV1;
}

/** No schemas: no event or signal is declared. */
export type NoSchemas = Record<never, never>;

/**
 * A process as `defineProcess` gives it, with its types: what `KernelOptions.processes` lists and `kernel.start` takes. `Input` is what a
 * start gives, `Output` what its handle's `result` resolves with.
 */
export interface ProcessDefinition<
  Name extends string = string,
  Input = unknown,
  Output = unknown,
  Events = unknown,
  Signals = unknown,
> {
  readonly name: Name;
  readonly input?: StandardSchemaV1;
  readonly events?: Schemas;
  readonly signals?: Schemas;
  readonly retry?: RetryPolicy;
  readonly timeoutMs?: number;
  readonly suspendAfterMs?: number;
  /** With a type of its own that only `defineProcess` knows. */
  readonly limit?: LimitSpec<never>;
  /** The handler, with types of its own that only `defineProcess` knows. */
  readonly run: (context: never) => unknown;
  /** It carries the types alone and is never set. */
  readonly "~types"?: { readonly input: Input; readonly output: Output; readonly events: Events; readonly signals: Signals };
}

/** What a start of the definition must give as `input`. */
export type InputOf<D> = D extends ProcessDefinition<string, infer Input> ? Input : never;
/** What the `result` of its handle resolves with. */
export type OutputOf<D> = D extends ProcessDefinition<string, unknown, infer Output> ? Output : never;
/** The schemas of the events that it declares. */
export type EventsOf<D> = D extends ProcessDefinition<string, unknown, unknown, infer Events> ? Events : never;
/** The schemas of the signals that it declares. */
export type SignalsOf<D> = D extends ProcessDefinition<string, unknown, unknown, unknown, infer Signals> ? Signals : never;

/** The names that `S` declares; any name where `S` is not known. */
export type NamesOf<S> = string extends keyof S ? string : keyof S & string;
/** What may be given as the payload of the event or signal `K`, before its schema made something of it. */
export type PayloadOf<S, K> = string extends keyof S
  ? unknown
  : K extends keyof S
    ? S[K] extends StandardSchemaV1<infer Given, unknown>
      ? Given
      : never
    : never;
/** What the schema of the signal `K` makes of its payload. */
export type MadeOf<S, K> = string extends keyof S
  ? JsonValue
  : K extends keyof S
    ? S[K] extends StandardSchemaV1<unknown, infer Made>
      ? Made
      : never
    : never;
