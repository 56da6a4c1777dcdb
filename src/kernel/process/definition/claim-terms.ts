import type { ClaimLimit, LimitSpec } from "../../../domain/process/limit.js";
import type { ClaimTerms } from "../../../stores/process/leases.js";
import type { Runnable } from "./define.js";

/** What the handlers declare for a claim, by name; a handler that declares nothing is left out. */
export function termsOf(handlers: ReadonlyMap<string, Runnable>): ReadonlyMap<string, ClaimTerms> {
  const terms = [...handlers].map(([name, handler]): [string, ClaimTerms] => [name, claimTermsOf(name, handler)]);
  return new Map(terms.filter(([, declared]) => Object.keys(declared).length > 0));
}

export function claimTermsOf(name: string, { timeoutMs, limit }: Runnable): ClaimTerms {
  return { ...(timeoutMs !== undefined && { timeoutMs }), ...(limit && { limit: claimLimitOf(name, limit) }) };
}

function claimLimitOf(name: string, { key = name, ...limit }: LimitSpec): ClaimLimit {
  return { ...limit, ...(typeof key === "string" && { key }) };
}
