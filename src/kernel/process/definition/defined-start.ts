import { checkId, optionsOf } from "../../../domain/check.js";
import { HoldfastError, isHoldfastError } from "../../../domain/errors.js";
import { canonicalText, type JsonValue } from "../../../domain/json.js";
import type { ProcessInput, ProcessRecord } from "../../../domain/process/process.js";
import { loadProcess, RECORD_TABLES } from "../../../stores/process/processes.js";
import { admitPayload } from "../../../stores/process/registration.js";
import { type Child, prepareStart, registerStart, type StartParts } from "../start.js";
import { checkDefinition, type Runnable } from "./define.js";
import { isSameValue } from "./same-value.rules.js";
import { judgeBy, madeOf } from "./schema-verdict.js";

export { schemasInRun } from "./run-schemas.js";

/** Starts a task of the definition's name, with the input as it was given. */
export async function startDefined(
  parts: StartParts,
  what: unknown,
  options: unknown = {},
  child: Child | undefined,
): Promise<ProcessRecord> {
  const { corridor, limits } = parts;
  const { name, input: schema, events = {} } = definitionOf(parts, what);
  const m = optionsOf("start", options, ["id", "input", "provenance", "grant", "endWith", "startAtMs"]);
  const args = m.input === undefined ? undefined : admitPayload(m.input, "options.input", limits);
  const input: ProcessInput = { type: "task", name, ...(args !== undefined && { args }) };
  const eventTypes = Object.keys(events).map((eventType) => ({ name: eventType }));
  const prepared = await prepareStart(parts, "options", { ...m, input, eventTypes }, child);
  const made = await madeOf("options.input", schema, args);

  /** Whether the schema makes the same of both inputs. What else may differ, as the declared events of an older version, does not count. */
  async function isAlike(stored: ProcessInput, conflict: HoldfastError): Promise<boolean> {
    if (stored.type !== "task" || stored.name !== name) return false;
    if (argsText(stored.args) === argsText(args)) return true;
    try {
      const verdict = await judgeBy(schema, stored.args);
      return verdict.misfit === undefined && isSameValue(verdict.made, made);
    } catch (cause) {
      // The schema may not know the input of an older version, and what it makes may have a `toJSON` that throws.
      const { message, details } = conflict;
      throw new HoldfastError("conflict", message, { ...(details !== undefined && { details }), cause });
    }
  }

  for (let alike: string | undefined; ; ) {
    try {
      return await registerStart(parts, { ...prepared, ...(alike !== undefined && { alike }) });
    } catch (error) {
      if (!isHoldfastError(error) || error.code !== "conflict") throw error;
      const { id } = prepared.registration;
      const stored = await corridor.query(RECORD_TABLES, (reader) => loadProcess(reader, id));
      // It is taken for the same already: what conflicts is something else.
      if (stored && stored.process.registrationHash === alike) throw error;
      if (stored && !(await isAlike(stored.registration.input, error))) throw error;
      // If it was removed meanwhile, it is registered anew.
      alike = stored?.process.registrationHash;
    }
  }
}

/** A name has the schemas of this host's definition of it, if there is one. */
function definitionOf({ handlers, limits }: StartParts, what: unknown): Omit<Runnable, "run"> & { readonly name: string } {
  if (typeof what !== "string") return checkDefinition("definition", what, limits.idLength);
  const name = checkId("name", what, limits.idLength);
  return { ...handlers.get(name), name };
}

function argsText(args: JsonValue | undefined): string {
  return args === undefined ? "" : canonicalText(args);
}
