import type { Kernel } from "../../../kernel/kernel.js";
import type { SessionRuntime } from "../../../kernel/session/session.js";
import {
  given,
  noBytes,
  noCount,
  noFlag,
  noId,
  noJson,
  noList,
  noObject,
  noText,
  noWord,
  type Values,
} from "../../kit/hostile.js";
import { DECISION } from "../runtime.fixture.js";
import { prompt } from "../session.fixture.js";

/** Wrong values for an argument, and a call whose other arguments are right. */
export type SessionField = [
  field: string,
  values: () => Values,
  call: (session: SessionRuntime, value: never, kernel: Kernel) => unknown,
];

const object = () => ({ undefined: undefined, ...noObject() });
const noFunction = (): Values => ({ undefined: undefined, ...noObject(), "a function": undefined, "an object": {} });
const images = (values: () => Values) => () => {
  // A text is base64 here, so it is not wrong.
  const { "a text": _, undefined: __, ...rest } = values();
  return { ...rest, "no base64": "what?", "half of base64": "A" };
};

const submit = (session: SessionRuntime, more: object) => session.submit(prompt("new", more));
const peer = (session: SessionRuntime, convention: unknown) => session.submit({ inputType: "peer", inputId: "new", convention });
const block = (session: SessionRuntime, ...blocks: unknown[]) => submit(session, { blocks });
const decide = async (kernel: Kernel, more: unknown) => {
  const policy = () =>
    (Array.isArray(more) || typeof more !== "object" || more === null ? more : { ...DECISION, ...more }) as never;
  return await (await kernel.session("s", { policy })).submit(prompt("new"));
};

/** Every argument of a session and of its opening. */
export const SESSION_FIELDS: SessionField[] = [
  ["sessionId", noId, (_, v, kernel) => kernel.session(v)],
  ["sessionId", () => ({ "a frame's": "s/frame:f" }), (_, v, kernel) => kernel.session(v)],
  ["options", noObject, (_, v, kernel) => kernel.session("s", v)],
  ["options.quarantine", noFlag, (_, quarantine, kernel) => kernel.session("s", { quarantine })],
  ["options.policy", given(noFunction), (_, policy, kernel) => kernel.session("s", { policy })],
  ["options.silentIntents", given(noList), (_, silentIntents, kernel) => kernel.session("s", { silentIntents })],
  ["options.silentIntents/0", noId, (_, v, kernel) => kernel.session("s", { silentIntents: [v] })],
  ["options.policy", () => ({ "a text": "x", "a number": 1, null: null, "a list": [] }), (_, v, kernel) => decide(kernel, v)],
  ["options.policy", noWord, (_, applyMode, kernel) => decide(kernel, { applyMode })],
  ["options.policy", noWord, (_, queueMode, kernel) => decide(kernel, { queueMode })],
  ["options.policy", noFlag, (_, recordTranscript, kernel) => decide(kernel, { recordTranscript })],
  ["input", object, (session, v) => session.submit(v)],
  ["input.inputType", noWord, (session, inputType) => session.submit({ inputType, text: "x" })],
  ["input.inputType", () => ({ "an old name": "projected" }), (session, inputType) => session.submit({ inputType, text: "x" })],
  ["input.text", noText, (session, text) => submit(session, { text })],
  ["input.inputId", given(noId), (session, inputId) => submit(session, { inputId })],
  ["input.idempotencyKey", given(noId), (session, idempotencyKey) => submit(session, { idempotencyKey })],
  ["input", given(noId), (session, supersessionKey) => submit(session, { supersessionKey })],
  ["input", given(noId), (session, correlationId) => submit(session, { correlationId })],
  ["input.durability", given(noWord), (session, durability) => submit(session, { durability })],
  ["input", given(noWord), (session, handlingMode) => submit(session, { handlingMode })],
  ["input", noObject, (session, source) => submit(session, { source })],
  ["input", noWord, (session, type) => submit(session, { source: { type } })],
  ["input", noObject, (session, visibility) => submit(session, { visibility })],
  ["input", noFlag, (session, transcriptEligible) => submit(session, { visibility: { transcriptEligible } })],
  ["input", noFlag, (session, operatorEligible) => submit(session, { visibility: { operatorEligible } })],
  ["input", noJson, (session, extra) => submit(session, { extra })],
  ["input", given(noWord), (session, conventionType) => peer(session, { conventionType })],
  ["input.blocks", given(noList), (session, blocks) => submit(session, { blocks })],
  [
    "input.blocks",
    () => ({ "too many": new Array(1_025).fill({ type: "text" }) }),
    (session, blocks) => submit(session, { blocks }),
  ],
  ["input.blocks/0", object, (session, v) => block(session, v)],
  ["input.blocks/1/data", images(noBytes), (session, data) => block(session, { type: "text" }, { type: "image", data })],
  ["inputId", noId, (session, v) => session.cancel(v)],
  ["options", noObject, (session, v) => session.messages(v)],
  ["options.after", given(noCount), (session, after) => session.messages({ after })],
  ["hash", noId, (session, v) => session.blob(v)],
  ["handler", noFunction, (session, v) => session.onTurn(v)],
  ["listener", noFunction, (session, v) => session.subscribe(v)],
];
