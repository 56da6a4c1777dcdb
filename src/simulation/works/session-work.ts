import { runtimeIdOf } from "../../domain/runtime-id.js";
import type { PolicyDecision } from "../../domain/session/input.js";
import type { SessionOptions } from "../../kernel/session/session.js";
import { builtInPolicy } from "../../stores/session/inputs/policy.rules.js";
import type { InputSubmission } from "../../stores/session/inputs/submission.js";
import type { Guest } from "../tab/guest.js";
import { runCall, SESSIONS, type Work } from "./work.js";

/** The text of an input whose turn kills its tab. */
export const POISON = "poison";
/** The text of an input whose turn fails. */
export const DOOMED = "doomed";

/** The kinds of which a newer input with the same key replaces one that waits. */
const REPLACING: Partial<Record<string, PolicyDecision["queueMode"]>> = { flow_step: "supersede", peer_message: "coalesce" };

export const SESSION_OPTIONS: SessionOptions = {
  policy({ kind, idle }) {
    const queueMode = REPLACING[kind];
    return queueMode && { ...builtInPolicy({ kind, idle }), queueMode };
  },
};

export async function submit(
  guest: Guest,
  inputs: { sessionId: string; inputId: string }[],
  sessionId: string,
  given: InputSubmission,
) {
  const { inputId = "", durability } = given;
  const outcome = await guest.sessions.get(sessionId)?.submit(given);
  if (outcome?.outcome !== "accepted") return;
  inputs.push({ sessionId, inputId });
  guest.ledger.accepted(runtimeIdOf(sessionId), inputId, durability !== "ephemeral");
}

export const SESSION_WORK = {
  /** Inputs that each replace the one before it, if that still waits; some have an idempotency key. */
  revise: {
    weight: 6,
    work(guest, { inputs }, dice, number) {
      const sessionId = dice.pick(SESSIONS);
      const inputType = dice.pick(["flow_step", "peer"] as const);
      const count = dice.between(1, 3);
      const isKeyed = dice.chance(0.7);
      const revise = async () => {
        for (let at = 0; at < count; at++) {
          await submit(guest, inputs, sessionId, {
            inputType,
            inputId: `r${number}.${at}`,
            supersessionKey: "draft",
            ...(isKeyed && { idempotencyKey: `r${number}.${at}` }),
          });
        }
      };
      return {
        told: `submits ${count} drafts r${number} to ${sessionId}`,
        done: runCall(guest.ledger, `submit drafts r${number}`, revise, ["not-found", "conflict"]),
      };
    },
  },
  /** An input whose turn kills the tab that runs it, and the next one. */
  poison: {
    weight: 2,
    work(guest, { inputs }, dice, number) {
      const sessionId = dice.pick(SESSIONS);
      const given: InputSubmission = { inputType: "prompt", text: POISON, inputId: `x${number}` };
      return {
        told: `submits ${POISON} x${number} to ${sessionId}`,
        done: runCall(guest.ledger, `submit x${number}`, () => submit(guest, inputs, sessionId, given), [
          "not-found",
          "conflict",
        ]),
      };
    },
  },
  /** An input whose turn fails at each try, until it is given up. */
  doom: {
    weight: 3,
    work(guest, { inputs }, dice, number) {
      const sessionId = dice.pick(SESSIONS);
      const given: InputSubmission = { inputType: "prompt", text: DOOMED, inputId: `d${number}` };
      return {
        told: `submits ${DOOMED} d${number} to ${sessionId}`,
        done: runCall(guest.ledger, `submit d${number}`, () => submit(guest, inputs, sessionId, given), [
          "not-found",
          "conflict",
        ]),
      };
    },
  },
  /** Replaces a transcript as a whole, between two reads of it. */
  replace: {
    weight: 3,
    work(guest, _, dice, number) {
      const sessionId = dice.pick(SESSIONS);
      const session = guest.sessions.get(sessionId);
      const more = dice.between(-1, 2);
      const replace = async () => {
        if (!session) return;
        const known = await read(guest, sessionId);
        const messages = Array.from({ length: Math.max(0, known + more) }, (_, at) => ({
          role: "user",
          content: `${number}.${at}`,
        }));
        const sessionSnapshot = new TextEncoder().encode(JSON.stringify({ id: sessionId, messages }));
        await guest.kernel.runtime.commitSessionSnapshot(session.runtimeId, { sessionSnapshot });
        await read(guest, sessionId);
      };
      return {
        told: `replaces the messages of ${sessionId}`,
        done: runCall(guest.ledger, `replace ${sessionId}`, replace, ["not-found"]),
      };
    },
  },
  read: {
    weight: 6,
    work(guest, _, dice) {
      const sessionId = dice.pick(SESSIONS);
      const reading = async () => void (await read(guest, sessionId));
      return { told: `reads ${sessionId}`, done: runCall(guest.ledger, `read ${sessionId}`, reading, ["not-found"]) };
    },
  },
} satisfies Record<string, Work>;

/** Resolves with how many messages there are. */
async function read({ sessions, ledger }: Guest, sessionId: string): Promise<number> {
  const session = sessions.get(sessionId);
  if (!session) return 0;
  const answered = ledger.askedForMessages(session.runtimeId);
  const messages = await session.messages();
  answered(messages);
  return messages.length;
}
