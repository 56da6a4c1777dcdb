import type { AcceptOutcome, InputOutcomeReport, InputSubmission, PromptSubmission, SessionRuntime } from "holdfast";
import { type Equal, same } from "./equal.js";

declare const session: SessionRuntime;
declare const any: InputSubmission;
declare const prompt: PromptSubmission;

export async function submits(): Promise<void> {
  // A prompt is never rejected, so its outcome always has an id.
  const { inputId } = await session.submit({ inputType: "prompt", text: "hello", idempotencyKey: "k" });
  same<Equal<typeof inputId, string>>();
  const asked = await session.submit(prompt);
  same<Equal<typeof asked.outcome, "accepted" | "deduplicated">>();
  await session.submit({ inputType: "prompt", text: "hello", durability: "ephemeral", model: "any field" });

  const told = await session.submit({ inputType: "peer", body: "hello", durability: "derived" });
  same<Equal<typeof told, AcceptOutcome>>();
  const other = await session.submit(any);
  same<Equal<typeof other, AcceptOutcome>>();
  // @ts-expect-error: it may be rejected
  void other.inputId;
  // @ts-expect-error: a prompt is not derived
  await session.submit({ inputType: "prompt", text: "hello", durability: "derived" });
  // @ts-expect-error: a prompt has a text
  await session.submit({ inputType: "prompt" });

  const ended = await session.outcome(await session.submit(any));
  same<Equal<typeof ended, InputOutcomeReport>>();
  await session.outcome(asked, { signal: new AbortController().signal });
  await session.outcome(inputId);
  // @ts-expect-error: neither an id nor an outcome
  await session.outcome(1);
}
