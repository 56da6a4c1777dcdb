import { guarded } from "../../../domain/admit.js";
import { checkId, optionsOf } from "../../../domain/check.js";
import { invalid } from "../../../domain/errors.js";
import { loadReplay } from "../../../stores/process/events.js";
import { admitPayload } from "../../../stores/process/registration.js";
import { signalEvent, storeSignal } from "../../../stores/process/waits/signals.js";
import { loadRow } from "../../../stores/schema.js";
import { checkDefinition } from "../definition/define.js";
import type { Schemas } from "../definition/definition.js";
import { judgeSignal, schemaOfSignal } from "../definition/signal-schemas.js";
import type { SignalParts, SignalRoute } from "../handle.js";

/** Stores a signal for the process, once per id. A definition that is known here judges its name and payload first. */
export async function sendSignal(
  parts: SignalParts,
  { processId, startedBy, fenced }: SignalRoute,
  [givenName, givenPayload = null, options = {}]: readonly unknown[],
): Promise<void> {
  const { corridor, limits, declared } = parts;
  const name = checkId("name", givenName, limits.idLength);
  const payload = admitPayload(givenPayload, "payload", limits);
  const m = optionsOf("signal", options, ["signalId"]);
  const signalId = m.signalId === undefined ? parts.newSignalId() : checkId("options.signalId", m.signalId, limits.idLength);
  const signal = { processId, name, signalId, payload };

  const schema = schemaOfSignal(await signalsOf(parts, processId, startedBy), name);
  const { misfit } = await judgeSignal(schema, name, payload);
  // A signal that is stored already decides, whatever the schema says by now. No restart forgets it.
  const isStored = () => corridor.query(["events"], (reader) => loadReplay(reader, signalEvent(signal), undefined));
  if (misfit !== undefined && !(await isStored()))
    throw invalid(`payload does not fit the schema of signal "${name}": ${misfit}`);
  const size = JSON.stringify(payload).length;
  await fenced((lease) => corridor.run(storeSignal, { ...signal, declared, ...(lease && { lease }) }, { size }));
}

/** The signals that the definition declares: the one that the process was started by, or this host's own one for its handler. */
async function signalsOf(
  { corridor, limits, handlers }: SignalParts,
  processId: string,
  startedBy: unknown,
): Promise<Schemas | undefined> {
  if (guarded("definition", () => typeof startedBy === "object" && startedBy !== null && "run" in startedBy))
    return checkDefinition("definition", startedBy, limits.idLength).signals;
  if (![...handlers.values()].some(({ signals }) => signals)) return undefined;
  const process = await corridor.query(["processes"], (reader) => loadRow(reader, "processes", processId));
  return handlers.get(process?.handler ?? "")?.signals;
}
