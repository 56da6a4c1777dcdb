import { admitJson, guarded, type JsonLimits } from "../admit.js";
import { checkOneOf, someMembersOf } from "../check.js";
import { invalid } from "../errors.js";
import type { Message } from "./session.js";

const ROLES = ["user", "assistant", "system", "tool"] as const;

/** A private copy of a message for a transcript. Throws `invalid` naming the member. */
export function checkMessage(field: string, value: unknown, limits: JsonLimits): Message {
  const { role, content } = someMembersOf(field, value, ["role", "content"]);
  checkOneOf(`${field}.role`, role, ROLES);
  if (content === undefined) throw invalid(`${field}.content must be a JSON value`);
  const members = guarded(field, () => Object.fromEntries(Object.entries(value as object)));
  const message = admitJson(members, field, limits) as unknown as Message;
  // Checked a second time: a getter may have given another value to the copy.
  checkOneOf(`${field}.role`, message.role, ROLES);
  if (message.content === undefined) throw invalid(`${field}.content must be a JSON value`);
  return message;
}
