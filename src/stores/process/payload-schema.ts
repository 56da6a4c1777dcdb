import { HoldfastError } from "../../domain/errors.js";
import type { SchemaEngine } from "./json-schema.js";

/**
 * JSON Schema 2020-12 for payloads, without eval. The engine is loaded when the first schema is met: most apps declare none.
 */
export interface PayloadSchemas {
  /** Set once `load` has run. */
  readonly engine: SchemaEngine | undefined;
  load(): Promise<SchemaEngine>;
}

export function payloadSchemas(): PayloadSchemas {
  let engine: SchemaEngine | undefined;
  return {
    get engine() {
      return engine;
    },
    async load() {
      try {
        engine ??= (await import("./json-schema.js")).createEngine();
        return engine;
      } catch (cause) {
        throw new HoldfastError("unavailable", "the JSON Schema library could not be loaded", { cause });
      }
    },
  };
}
