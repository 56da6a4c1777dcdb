import type { StandardSchemaV1 } from "@standard-schema/spec";
import { invalid } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";
import type { Schemas } from "./definition.js";
import { judgedBy, type SchemaVerdict } from "./schema-verdict.js";

/** The schema of the signal, if the definition declares signals. Throws `invalid` for a name that it does not declare then. */
export function schemaOfSignal(signals: Schemas | undefined, name: string): StandardSchemaV1 | undefined {
  if (!signals) return undefined;
  if (!Object.hasOwn(signals, name)) {
    const known = Object.keys(signals).join(", ") || "none";
    throw invalid(`the definition does not declare signal "${name}"; declared are ${known}`);
  }
  return signals[name];
}

/** A signal without a payload is stored as null: the schema may call it null or `undefined`. Rejects `invalid` if the schema throws. */
export async function judgeSignal(
  schema: StandardSchemaV1 | undefined,
  name: string,
  payload: JsonValue,
): Promise<SchemaVerdict> {
  const field = `signal "${name}"`;
  const verdict = await judgedBy(field, schema, payload);
  if (verdict.misfit === undefined || payload !== null) return verdict;
  const absent = await judgedBy(field, schema, undefined);
  return absent.misfit === undefined ? absent : verdict;
}
