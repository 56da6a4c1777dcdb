import { checkId, checkOneOf, checkWhole, someMembersOf } from "../check.js";
import { HoldfastError } from "../errors.js";
import type { Limits } from "../time.js";
import { BOUNDARIES } from "./input.js";
import { checkIds } from "./input-record.js";
import type { RunBoundaryReceipt } from "./session.js";

/** A private copy. Throws `invalid` naming the member, or `write-failed` for a sequence that is no whole number from 0 up. */
export function checkReceipt(field: string, value: unknown, limits: Limits): RunBoundaryReceipt {
  const m = someMembersOf(field, value, [
    "runId",
    "boundary",
    "contributingInputIds",
    "conversationDigest",
    "messageCount",
    "sequence",
  ]);
  return {
    runId: checkId(`${field}.runId`, m.runId, limits.idLength),
    boundary: checkOneOf(`${field}.boundary`, m.boundary, BOUNDARIES),
    contributingInputIds: checkIds(`${field}.contributingInputIds`, m.contributingInputIds, limits),
    ...(m.conversationDigest !== undefined && {
      conversationDigest: checkId(`${field}.conversationDigest`, m.conversationDigest, limits.idLength),
    }),
    messageCount: checkWhole(`${field}.messageCount`, m.messageCount, 0),
    sequence: checkSequence(`${field}.sequence`, m.sequence),
  };
}

function checkSequence(field: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value === 0 ? 0 : value;
  throw new HoldfastError("write-failed", `${field} must be a whole number from 0 up`, { details: { field } });
}
