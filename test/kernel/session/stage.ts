import type { Turn } from "../../../src/index.js";
import type { KernelOptions } from "../../../src/kernel/options.js";
import type { KernelStorage } from "../../../src/ports/storage.js";
import { builtInPolicy } from "../../../src/stores/session/inputs/policy.rules.js";
import { buildTown } from "../../loop/town.js";
import { gate } from "../rounds.js";
import { rowsOf, saying, type Tab } from "./tabs.js";

export const KINDS = ["prompt", "event", "continuation", "progress", "operation"] as const;

export interface Submission {
  readonly kind: (typeof KINDS)[number];
  readonly inputId: string;
  readonly mode?: "queue" | "steer" | undefined;
  readonly key?: string | undefined;
  readonly replaces?: string | undefined;
  readonly brief?: boolean | undefined;
}

const OF_KIND = {
  prompt: { inputType: "prompt" },
  event: { inputType: "external_event" },
  continuation: { inputType: "continuation" },
  progress: { inputType: "peer", convention: { conventionType: "response_progress" } },
  operation: { inputType: "operation" },
} as const;

/** An event replaces the one before it, as progress does by itself. */
const policy: NonNullable<Parameters<Tab["kernel"]["session"]>[1]>["policy"] = ({ kind, idle }) =>
  kind === "external_event" ? { ...builtInPolicy({ kind, idle }), queueMode: "supersede" } : undefined;

/** Tabs that run the session "s" one after another, step by step: a turn stands still until it is told how to end. */
export async function raiseStage(place?: KernelStorage, options: Partial<KernelOptions> = {}) {
  const town = buildTown(place);
  /** The input ids of each batch, in the order in which the batches began. */
  const begun: string[][] = [];
  const opened: Pick<Tab, "kernel" | "session" | "probed" | "die">[] = [];
  let current: { turn: Turn; end: ReturnType<typeof gate<void>> } | undefined;

  const handler = async (turn: Turn) => {
    const end = gate();
    begun.push(turn.inputs.map(({ inputId }) => inputId));
    current = { turn, end };
    await end.promise;
  };
  const tab = () => opened.at(-1) as (typeof opened)[number];
  const playing = () => current as NonNullable<typeof current>;
  const enter = async () => {
    const host = await town.host(`tab${opened.length}`, options);
    opened.push({ ...host, session: await attend(host) });
  };
  const attend = async ({ kernel }: Pick<Tab, "kernel">) => {
    const session = await kernel.session("s", { policy });
    session.onTurn(handler);
    return session;
  };
  await enter();

  return {
    town,
    begun,
    rows: rowsOf(town),
    tab,
    /** Resolves when nothing moves any more without the clock. */
    async settle() {
      for (let still = 0, seen = 0; still < 12; still++) {
        await new Promise((resolve) => setImmediate(resolve));
        const { length } = tab().probed.seen;
        if (
          length !== seen ||
          tab()
            .probed.seen.slice(-4)
            .some(({ committed }) => !committed)
        )
          still = 0;
        seen = length;
      }
    },
    async submit({ kind, inputId, mode, key, replaces, brief }: Submission) {
      const input = {
        ...OF_KIND[kind],
        text: inputId,
        inputId,
        ...(mode && { handlingMode: mode }),
        ...(key && { idempotencyKey: key }),
        ...(replaces && { supersessionKey: replaces }),
        ...(brief && { durability: "ephemeral" as const }),
      };
      return await tab().session.submit(input as Parameters<Tab["session"]["submit"]>[0]);
    },
    succeed() {
      const { turn, end } = playing();
      turn.append(saying(`answer ${begun.length}`));
      end.open();
    },
    fail: () => playing().end.fail(new Error("the handler failed")),
    async checkpoint() {
      const { turn } = playing();
      turn.append(saying(`note ${begun.length}`));
      await turn.checkpoint();
    },
    async crash() {
      tab().die();
      await enter();
    },
    async close() {
      await tab().kernel.close();
      await enter();
    },
    async reopen() {
      await tab().session[Symbol.asyncDispose]();
      opened.push({ ...tab(), session: await attend(tab()) });
    },
    async remove() {
      await tab().kernel.sessions.delete("s");
      opened.push({ ...tab(), session: await attend(tab()) });
    },
  };
}

export type Stage = Awaited<ReturnType<typeof raiseStage>>;
