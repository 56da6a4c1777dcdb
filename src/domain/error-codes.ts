/**
 * The whole vocabulary of errors. `retriable` says whether the same call may succeed later without a change by the caller.
 * docs/errors.md has a heading per code; a test compares the two.
 */
export const ERROR_CODES = {
  invalid: {
    meaning: "An argument, payload, registration or option breaks its rule or a limit. Nothing was written.",
    todo: "Correct the field that the message names.",
    retriable: false,
  },
  "not-found": { meaning: "What the call names does not exist.", todo: "Register or grant it first.", retriable: false },
  conflict: {
    meaning:
      "The same id or key is taken, by other content or by something under way; `details.reason` names which, where there is more than one.",
    todo: "Use a new id or key, send the stored content, or wait for what is under way.",
    retriable: false,
  },
  terminal: {
    meaning: "The process or operation has ended: it takes no other end, no claim and no signal, and a wait cannot be fulfilled.",
    todo: "Read the record; its status holds the output.",
    retriable: false,
  },
  "lease-held": {
    meaning: "Another owner holds the live lease.",
    todo: "Leave the work to it, or claim after the expiry.",
    retriable: true,
  },
  "lease-lost": {
    meaning: "The presented lease is not the live one: expired, released or superseded. Nothing was written.",
    todo: "Stop working on it; the new owner goes on.",
    retriable: false,
  },
  "write-failed": {
    meaning:
      "The storage refused a write; or snapshot bytes do not decode, or a receipt is stored already or has a bad sequence. Nothing of the call was written.",
    todo: "Where the storage refused, try again and read the cause; else send what the message asks for.",
    retriable: true,
  },
  "read-failed": {
    meaning: "A stored row could not be read or decoded.",
    todo: "Read the cause and the row named in details.",
    retriable: false,
  },
  "session-key-mismatch": {
    meaning: "A snapshot belongs to another session than the key says. Nothing was written.",
    todo: "Send the right snapshot.",
    retriable: false,
  },
  unsupported: {
    meaning: "This storage or platform cannot do it. Nothing was written.",
    todo: "Use one that can.",
    retriable: false,
  },
  internal: { meaning: "holdfast itself broke a rule.", todo: "Report it with the message.", retriable: false },
  "quota-exceeded": {
    meaning: "The browser refused the space. Nothing of the call was written.",
    todo: "Free space, then try again.",
    retriable: true,
  },
  unavailable: {
    meaning:
      "The storage cannot be opened, was deleted, or its connection is lost; code that is loaded when it is first used could not be loaded; a key store failed, or gives no key while records are sealed; for liveness, there is no channel to the other tabs.",
    todo: 'Try again or open a new kernel. With details.outcome "unknown" read first: the call may have been stored.',
    retriable: true,
  },
  version: {
    meaning: "The database or a row was written by a newer holdfast. It is left untouched.",
    todo: "Reload the page to get the newer code.",
    retriable: false,
  },
  "not-ready": {
    meaning: "A retired, stopped or destroyed session runtime was told what it does not do in that state. Nothing was written.",
    todo: "Reset or recycle a retired session; delete a stopped or destroyed one to begin anew.",
    retriable: false,
  },
  aborted: { meaning: "The caller's own signal ended the call; its reason is the cause.", todo: "Nothing.", retriable: false },
  closed: { meaning: "The kernel is closed.", todo: "Open a new one.", retriable: false },
  failed: {
    meaning: "The process whose result was asked for has failed; `details` has its class, code and message.",
    todo: "Read the message; start another process, or mend what failed.",
    retriable: false,
  },
  cancelled: {
    meaning: "The process whose result was asked for was cancelled; the message is its reason.",
    todo: "Nothing, or start another process.",
    retriable: false,
  },
  timeout: {
    meaning: "The time that the call, step or process was given is over. What it began may still go on; its result is dropped.",
    todo: "Try again, or give it more time.",
    retriable: true,
  },
  suspended: {
    meaning:
      "The run was set aside while its process waits: what it still does changes nothing. Another run goes on with the process.",
    todo: "Nothing.",
    retriable: false,
  },
} as const satisfies Record<string, { meaning: string; todo: string; retriable: boolean }>;
