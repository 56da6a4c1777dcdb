import type { StandardSchemaV1 } from "@standard-schema/spec";
import { copyOf } from "../../../domain/copy.js";
import { HoldfastError, invalid } from "../../../domain/errors.js";
import type { JsonValue } from "../../../domain/json.js";

/** What a schema made of a value, or why the value does not fit. */
export type SchemaVerdict = { readonly made: unknown; readonly misfit?: undefined } | { readonly misfit: string };

/** A schema that is asynchronous gives a promise. What the schema itself throws is passed on; `judgedBy` tells it as `invalid`. */
type JudgeBy = (schema: StandardSchemaV1 | undefined, value: JsonValue | undefined) => SchemaVerdict | Promise<SchemaVerdict>;

export const judgeBy: JudgeBy = (schema, value) => {
  if (!schema) return { made: value };
  // A schema may change what it is given.
  const result = schema["~standard"].validate(copyOf(value));
  return "then" in result ? Promise.resolve(result).then(verdictOf) : verdictOf(result);
};

/** `judgeBy`, but `invalid` for a schema that throws. */
export function judgedBy(
  field: string,
  schema: StandardSchemaV1 | undefined,
  value: JsonValue | undefined,
): SchemaVerdict | Promise<SchemaVerdict> {
  const refuse = (cause: unknown): never => {
    throw new HoldfastError("invalid", `the schema of ${field} threw an error`, { cause });
  };
  try {
    const verdict = judgeBy(schema, value);
    return verdict instanceof Promise ? verdict.catch(refuse) : verdict;
  } catch (cause) {
    return refuse(cause);
  }
}

/** Throws `invalid` for an input that does not fit, and for a schema that fails. */
export async function madeOf(
  field: string,
  schema: StandardSchemaV1 | undefined,
  value: JsonValue | undefined,
): Promise<unknown> {
  const verdict = await judgedBy(field, schema, value);
  if (verdict.misfit !== undefined) throw invalid(`${field} does not fit its schema: ${verdict.misfit}`);
  return verdict.made;
}

const MOST_ISSUES = 3;

function verdictOf(result: StandardSchemaV1.Result<unknown>): SchemaVerdict {
  if (!result.issues) return { made: result.value };
  return { misfit: result.issues.slice(0, MOST_ISSUES).map(issueText).join("; ") };
}

function issueText({ message, path = [] }: StandardSchemaV1.Issue): string {
  const steps = path.map((step) => `/${String(typeof step === "object" ? step.key : step)}`);
  return `${steps.join("")} ${message}`.trim();
}
