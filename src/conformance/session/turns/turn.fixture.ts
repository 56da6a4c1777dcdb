import type { Message } from "../../../domain/session/session.js";
import type { SessionEvent } from "../../../kernel/session/events.js";
import type { SessionRuntime } from "../../../kernel/session/session.js";
import type { Turn } from "../../../kernel/session/turn.js";
import type { Setup } from "../../kit/fixture.js";
import { readRows } from "../../kit/rows.fixture.js";
import { RUNTIME } from "../runtime.fixture.js";
import { comes, gate } from "../session.fixture.js";

export const saying = (content: string, more: object = {}): Message => ({ role: "assistant", content, ...more });

export const codesOf = (told: readonly SessionEvent[]) => told.map(({ code }) => code);
export const isTold = (told: readonly SessionEvent[], code: string, times = 1) =>
  comes(() => codesOf(told).filter((other) => other === code).length >= times, code);

/** A handler whose turn waits until a case lets it go on. */
export function stand(session: SessionRuntime): { begun: Promise<Turn>; leave(): void; off(): void } {
  const [begun, left] = [gate<Turn>(), gate()];
  const off = session.onTurn(async (turn) => {
    begun.open(turn);
    await left.promise;
  });
  return { begun: begun.promise, leave: () => left.open(), off };
}

export const runtimeRow = async (setup: Setup) =>
  (await readRows(setup, "runtimes")).find(({ runtimeId }) => runtimeId === RUNTIME) as unknown as {
    state: string;
    run?: { runId: string };
    messageCount: number;
    digest: string;
  };
