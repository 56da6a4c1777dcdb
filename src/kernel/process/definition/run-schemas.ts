import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Corridor } from "../../../corridor/command.js";
import { invalid, NonRetryableError } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { Limits } from "../../../domain/time.js";
import { loadReplay } from "../../../stores/process/events.js";
import { admitPayload } from "../../../stores/process/registration.js";
import type { Restarted } from "../../../stores/process/runs/restarts.rules.js";
import type { Schemas } from "./definition.js";
import { judgeBy, judgedBy, type SchemaVerdict } from "./schema-verdict.js";
import { judgeSignal, schemaOfSignal } from "./signal-schemas.js";

export interface RunSchemas {
  readonly runnable: {
    readonly input?: StandardSchemaV1 | undefined;
    readonly events?: Schemas | undefined;
    readonly signals?: Schemas | undefined;
  };
  readonly processId: string;
  /** The process's row as it was claimed. */
  readonly claimed: Restarted;
  readonly corridor: Corridor;
  readonly limits: Limits;
}

/** What the schemas of a definition do in a run of it. */
export interface SchemasInRun {
  /** What the schema makes of the stored input. If the input does not fit, it throws what fails the process; another run would not help. */
  argsOf(stored: JsonValue | undefined): Promise<unknown>;
  /**
   * A copy of the payload of a declared event, else `undefined`. Rejects `invalid` for one that does not fit, and for a schema that throws. Gives a promise only if the
   * schema does, or for a payload that is refused.
   */
  payloadOf(eventType: string, payload: unknown, replayKey: unknown): JsonValue | Promise<JsonValue> | undefined;
  /** Whether there is a schema for the signal. Throws `invalid` if the definition declares signals, but not this one. */
  hasSignal(name: string): boolean;
  judgeSignal(name: string, payload: JsonValue): Promise<SchemaVerdict>;
  /** What the schema makes of the stored payload of a signal that was taken. Rejects `invalid` for one that does not fit any more. */
  madeOfSignal(name: string, payload: JsonValue): Promise<unknown>;
}

export function schemasInRun({ runnable, processId, claimed, corridor, limits }: RunSchemas): SchemasInRun {
  /** Throws the refusal, unless an event is stored under the key: then the append is a replay, and what is stored decides. */
  async function refuse(refusal: unknown, eventType: string, replayKey: unknown): Promise<void> {
    const replay = typeof replayKey === "string" && { processId, eventType, payload: null, replayKey };
    const isStored = replay && (await corridor.query(["events"], (reader) => loadReplay(reader, replay, claimed)));
    if (!isStored) throw refusal;
  }
  const judge = (name: string, payload: JsonValue) => judgeSignal(schemaOfSignal(runnable.signals, name), name, payload);
  return {
    hasSignal: (name) => schemaOfSignal(runnable.signals, name) !== undefined,
    judgeSignal: judge,
    async madeOfSignal(name, payload) {
      const verdict = await judge(name, payload);
      if (verdict.misfit === undefined) return verdict.made;
      throw invalid(`the stored payload of signal "${name}" does not fit its schema: ${verdict.misfit}`);
    },
    async argsOf(stored) {
      const verdict = await judgeBy(runnable.input, stored);
      if (verdict.misfit === undefined) return verdict.made;
      const message = `the stored input does not fit its schema: ${verdict.misfit}`;
      throw Object.assign(new NonRetryableError(message), { code: "invalid-input" });
    },
    payloadOf(eventType, payload, replayKey) {
      const { events = {} } = runnable;
      if (!Object.hasOwn(events, eventType)) return undefined;
      const admitted = admitPayload(payload, "payload", limits);
      const refused = async (refusal: unknown) => {
        await refuse(refusal, eventType, replayKey);
        return admitted;
      };
      const taken = ({ misfit }: SchemaVerdict) =>
        misfit === undefined ? admitted : refused(invalid(`payload is invalid for event type "${eventType}": ${misfit}`));
      try {
        const verdict = judgedBy("payload", events[eventType], admitted);
        return verdict instanceof Promise ? verdict.then(taken, refused) : taken(verdict);
      } catch (thrown) {
        return refused(thrown);
      }
    },
  };
}
