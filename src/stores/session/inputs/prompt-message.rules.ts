import type { PersistedInput, StoredInputState } from "../../../domain/session/input.js";
import type { Message } from "../../../domain/session/session.js";

/** Fields about how an input is treated. They are not part of its content. */
const HEADER = new Set(["inputType", "source", "visibility", "supersessionKey", "correlationId", "handlingMode", "convention"]);

/** The input's message in the transcript: its text, with its blocks if it has any; else its other fields. */
export function messageOf(inputId: string, input: PersistedInput): Message {
  const { text, body, blocks } = input;
  const said = typeof text === "string" ? text : typeof body === "string" ? body : undefined;
  if (Array.isArray(blocks)) {
    const first = said === undefined || said === "" ? [] : [{ type: "text", text: said }];
    return { role: "user", content: [...first, ...blocks], inputId };
  }
  if (said !== undefined) return { role: "user", content: said, inputId };
  const payload = Object.fromEntries(Object.entries(input).filter(([name]) => !HEADER.has(name)));
  return { role: "user", content: payload, inputId };
}

/** Whether the transcript shows the input. */
export function isShown({ persistedInput, policy }: StoredInputState): boolean {
  const { transcriptEligible } = (persistedInput?.visibility ?? {}) as { transcriptEligible?: boolean };
  return persistedInput !== undefined && transcriptEligible !== false && policy?.decision.recordTranscript !== false;
}
