import type { StandardSchemaV1 } from "@standard-schema/spec";
import { guarded } from "../../../domain/admit.js";
import { checkFunction, checkId, checkList, checkObject, checkWhole, membersOf } from "../../../domain/check.js";
import { invalid } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import { checkLimit, type LimitSpec } from "../../../domain/process/limit.js";
import { checkRetry, type Retry, type RetryPolicy } from "../../../domain/retry.rules.js";
import { checkSuspendAfter, type Limits } from "../../../domain/time.js";
import type { ProcessContext, ProcessHandler } from "../context/context.js";
import type { NoSchemas, ProcessDefinition, Schemas } from "./definition.js";
import type { Json } from "./stored-json.js";

/**
 * Defines a process by its name, its types and its handler. `createKernel({ processes: [definition] })` runs it, and
 * `kernel.start(definition, { input })` starts it, also in a tab that does not run it.
 *
 * `input` is checked at start and again before each run, since a stored one may be older than the schema: one that does not fit then ends
 * the process as failed, with the code "invalid-input". The input is stored as it was given. `context.args` is what the schema makes of it,
 * anew for each run, and need not be JSON. `events` are those that `context.emit` may store: a payload is checked by its schema and stored
 * as it was given. `signals` are those that it may be sent and may wait for: a payload is checked where it is sent, if the definition is known
 * there, and again where it is taken. Without `signals` any name and payload passes. A schema may be asynchronous.
 *
 * `retry`: a handler that throws is run again from the start after a pause, in which its process holds neither slot nor lease; stored steps
 * answer at once. A result that cannot be stored, an input that does not fit and a HoldfastError `invalid` are not tried again. Default: one
 * try. `timeoutMs` counts in milliseconds from the first claim, over all tries, pauses and waits: at its end the handler's signal aborts
 * with `timeout` and the process ends as failed, class and code "timeout", whether the handler listens or not. From 1; default: none.
 * `suspendAfterMs` is that of `Timings`, for this process. `limit` bounds how many of its processes run at a time over all tabs.
 *
 * Throws `invalid` for a broken definition, for an event whose name begins with "process.", and for a member that it does not know.
 */
export function defineProcess<
  const Name extends string,
  Given = undefined,
  Input = JsonValue | undefined,
  Output = void,
  Events extends Schemas = NoSchemas,
  Signals extends Schemas = NoSchemas,
>(definition: {
  name: Name;
  input?: StandardSchemaV1<Given, Input>;
  events?: Events;
  signals?: Signals;
  retry?: RetryPolicy;
  timeoutMs?: number;
  suspendAfterMs?: number;
  limit?: LimitSpec<Input>;
  run(context: ProcessContext<Input, Events, Signals>): Promise<Output> | Output;
}): ProcessDefinition<Name, Given, Json<Output>, Events, Signals> {
  const checked = checkDefinition("definition", definition, Number.POSITIVE_INFINITY);
  const { name, input, events, signals, retry, timeoutMs, suspendAfterMs, limit, run } = checked;
  const schemas = { ...(input && { input }), ...(events && { events }), ...(signals && { signals }) };
  const terms = {
    ...(retry && { retry: Object.freeze(retry) }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(suspendAfterMs !== undefined && { suspendAfterMs }),
    ...(limit && { limit: Object.freeze(limit) }),
  };
  return Object.freeze({ name: name as Name, ...schemas, ...terms, run });
}

/** The type alone: a schema that lets every value pass. Nothing is checked at run time but that the value is JSON. */
export function typed<T>(): StandardSchemaV1<T, T> {
  return { "~standard": { version: 1, vendor: "holdfast", validate: (value) => ({ value: value as T }) } };
}

/** What this host runs under a name. A handler without a definition has no schemas. */
export interface Runnable {
  readonly run: ProcessHandler;
  readonly input?: StandardSchemaV1 | undefined;
  readonly events?: Schemas | undefined;
  readonly signals?: Schemas | undefined;
  readonly retry?: Retry | undefined;
  /** In milliseconds from the first claim. */
  readonly timeoutMs?: number | undefined;
  /** In the place of the kernel's. */
  readonly suspendAfterMs?: number | undefined;
  readonly limit?: LimitSpec | undefined;
}

type CheckedDefinition = Runnable & { readonly name: string };

/** The definition, each member read once. Throws `invalid`, which names the member. */
export function checkDefinition(field: string, value: unknown, idLength: number): CheckedDefinition {
  const m = membersOf(field, value, ["name", "input", "events", "signals", "run", ...TERMS]);
  const name = checkId(`${field}.name`, m.name, idLength);
  const events = checkStandardSchemas(`${field}.events`, m.events, idLength);
  for (const eventType in events)
    if (eventType.startsWith("process.")) throw invalid(`${field}.events/${eventType}: "process." is holdfast's own`);
  return {
    name,
    input: m.input === undefined ? undefined : checkStandardSchema(`${field}.input`, m.input),
    events,
    signals: checkStandardSchemas(`${field}.signals`, m.signals, idLength),
    ...checkTerms(field, m, idLength),
    run: methodOf(`${field}.run`, m.run, value),
  };
}

/** What a definition and a handler without one may say of their runs. */
const TERMS = ["retry", "timeoutMs", "suspendAfterMs", "limit"] as const;

function checkTerms(
  field: string,
  { retry, timeoutMs, suspendAfterMs, limit }: { readonly [Term in (typeof TERMS)[number]]?: unknown },
  idLength: number,
): Pick<Runnable, (typeof TERMS)[number]> {
  return {
    ...(retry !== undefined && { retry: checkRetry(`${field}.retry`, retry) }),
    ...(timeoutMs !== undefined && { timeoutMs: checkWhole(`${field}.timeoutMs`, timeoutMs, 1) }),
    ...(suspendAfterMs !== undefined && { suspendAfterMs: checkSuspendAfter(`${field}.suspendAfterMs`, suspendAfterMs) }),
    ...(limit !== undefined && { limit: checkLimit(`${field}.limit`, limit, idLength) }),
  };
}

const MOST_DEFINITIONS = 10_000;

export function checkDefinitions(given: unknown, { idLength }: Limits): ReadonlyMap<string, Runnable> {
  const found = new Map<string, Runnable>();
  const list = given === undefined ? [] : checkList("processes", given, MOST_DEFINITIONS);
  for (const [at, value] of list.entries()) {
    const definition = checkDefinition(`processes/${at}`, value, idLength);
    if (found.has(definition.name)) throw invalid(`processes/${at}.name: "${definition.name}" is defined twice`);
    found.set(definition.name, definition);
  }
  return found;
}

export function checkHandlers(given: unknown, { idLength }: Limits): ReadonlyMap<string, Runnable> {
  if (given === undefined) return new Map();
  checkObject("handlers", given);
  const names = guarded("handlers", () => Object.keys(given));
  const members = Object.entries(membersOf("handlers", given, names)).filter(([, handler]) => handler !== undefined);
  return new Map(
    members.map(([name, handler]) => {
      const field = `handlers.${name}`;
      const m = typeof handler === "object" ? membersOf(field, handler, ["run", ...TERMS]) : undefined;
      const run = m ? methodOf(`${field}.run`, m.run, handler) : methodOf(field, handler, given);
      return [checkId(`handlers: the name "${name}"`, name, idLength), { run, ...checkTerms(field, m ?? {}, idLength) }];
    }),
  );
}

/** The function, which is called as a method of its object. */
function methodOf(field: string, method: unknown, holder: unknown): ProcessHandler {
  const run = checkFunction(field, method as ProcessHandler);
  return (context) => Reflect.apply(run, holder, [context]);
}

function checkStandardSchemas(field: string, value: unknown, idLength: number): Schemas | undefined {
  if (value === undefined) return undefined;
  checkObject(field, value);
  const members = membersOf(
    field,
    value,
    guarded(field, () => Object.keys(value)),
  );
  for (const name in members) {
    checkId(`${field}: the name "${name}"`, name, idLength);
    checkStandardSchema(`${field}/${name}`, members[name]);
  }
  return members as Schemas;
}

function checkStandardSchema(field: string, value: unknown): StandardSchemaV1 {
  // A schema may be a function.
  const { validate } = guarded(field, () => Object((value as StandardSchemaV1 | null | undefined)?.["~standard"]));
  if (typeof validate !== "function")
    throw invalid(`${field} must be a Standard Schema, as those of zod, valibot and arktype are`);
  return value as StandardSchemaV1;
}
