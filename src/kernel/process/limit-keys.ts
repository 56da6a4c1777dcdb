import type { Corridor } from "../../corridor/command.js";
import { checkId } from "../../domain/check.js";
import { copyOf } from "../../domain/copy.js";
import { argsOf, handlerOf, type ProcessInput } from "../../domain/process/process.js";
import type { Limits } from "../../domain/time.js";
import { findRow } from "../../stores/schema.js";
import { faultOfApp } from "../host/fault.js";
import type { Fault } from "../host/loop-contract.js";
import type { Lazy } from "../lazy.js";
import type { Runnable } from "./definition/define.js";
import type { RunSchemas, SchemasInRun } from "./definition/run-schemas.js";

/** The keys by which processes count for the limits of their handlers. */
export interface LimitKeys {
  /** The key of a process that is registered just now; `undefined` where its handler has no limit. */
  keyOf(registered: Registered): string | undefined | Promise<string | undefined>;
  /** The keys of stored processes, in this order. Each has a handler here whose limit has a key function. */
  keysOf(processes: readonly RegisteredId[]): Promise<string[]>;
}

/** A process of whose input the hash is known: an id may be registered anew. */
export interface RegisteredId {
  readonly processId: string;
  readonly registrationHash: string;
}

type Registered = RegisteredId & { readonly input: ProcessInput };

interface LimitKeysParts {
  readonly corridor: Corridor;
  readonly limits: Limits;
  readonly handlers: ReadonlyMap<string, Runnable>;
  readonly definitions: Pick<Lazy<{ schemasInRun(schemas: RunSchemas): SchemasInRun }>, "load">;
  fault(fault: Fault): void;
}

/** A process that is held back is looked at again and again. */
const MOST_KEYS = 1_024;

export function createLimitKeys(parts: LimitKeysParts): LimitKeys {
  /** By the hash of the registration. */
  const kept = new Map<string, Promise<string>>();

  function keyOf(registered: Registered): string | undefined | Promise<string> {
    const name = handlerOf(registered.input) ?? "";
    const runnable = parts.handlers.get(name);
    if (!runnable?.limit) return undefined;
    const { key = name } = runnable.limit;
    if (typeof key === "string") return key;
    return kept.get(registered.registrationHash) ?? keep(registered.registrationHash, made(registered, name, runnable, key));
  }

  function keep(hash: string, key: Promise<string>): Promise<string> {
    kept.set(hash, key);
    key.catch(() => kept.delete(hash));
    if (kept.size > MOST_KEYS) kept.delete(kept.keys().next().value as string);
    return key;
  }

  async function made(
    { processId, input }: Registered,
    name: string,
    runnable: Runnable,
    key: (args: unknown) => string,
  ): Promise<string> {
    const stored = argsOf(input);
    const code = runnable.input && (await parts.definitions.load()).schemasInRun({ ...parts, runnable, processId, claimed: {} });
    let args: unknown;
    try {
      args = code ? await code.argsOf(stored) : copyOf(stored);
    } catch {
      // Its run fails with that.
      return name;
    }
    try {
      return checkId("the key", key(args), parts.limits.idLength);
    } catch (error) {
      parts.fault({ ...faultOfApp("handler", `the limit key of handler "${name}"`, error), processId });
      return name;
    }
  }

  return {
    keyOf,
    async keysOf(processes) {
      const rows = await parts.corridor.query(["registrations"], (reader) =>
        Promise.all(processes.map(({ processId }) => findRow(reader, "registrations", processId))),
      );
      const keys = processes.map(async (process, at) => {
        const row = rows[at];
        // The run of a process without its registration fails, whatever its key.
        return (row !== undefined && row !== "unreadable" && (await keyOf({ ...process, input: row.input }))) || "";
      });
      return await Promise.all(keys);
    },
  };
}
