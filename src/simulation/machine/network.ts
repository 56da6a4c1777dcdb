import type { ChannelFactory } from "../../ports/notices.js";
import type { FaultKind } from "../fault-kinds.js";
import type { Dice } from "./dice.js";
import type { Life, Machine } from "./machine.js";

type Channel = ReturnType<ChannelFactory>;

/** The shares of all messages that faults strike. */
interface NetworkFaults {
  lost: number;
  doubled: number;
  delayed: number;
}

/** BroadcastChannel between hosts: sends copies to all but the sender, in order, unless faults strike. */
export interface Network {
  readonly faults: NetworkFaults;
  channelFor(life: Life): ChannelFactory;
}

export const LONGEST_DELAY_MS = 5_000;

export function createNetwork(machine: Machine, dice: Dice, happened: (kind: FaultKind) => void): Network {
  const { timeline } = machine;
  const peers = new Map<string, Map<Channel, Life>>();
  const faults: NetworkFaults = { lost: 0, doubled: 0, delayed: 0 };
  /** When the last message of a sender reached a peer. */
  const last = new Map<string, number>();

  function send(sender: Life, message: unknown, peer: Channel, to: Life): void {
    if (dice.chance(faults.lost)) return happened("lost");
    const copies = dice.chance(faults.doubled) ? 2 : 1;
    if (copies === 2) happened("doubled");
    for (let copy = 0; copy < copies; copy++) {
      const pair = `${sender.name} ${to.name}`;
      const before = last.get(pair) ?? 0;
      const isDelayed = dice.chance(faults.delayed);
      // A message that is on time overtakes late ones.
      const atMs = isDelayed ? timeline.nowMs + dice.below(LONGEST_DELAY_MS) : timeline.nowMs + dice.below(3);
      if (isDelayed) happened("delayed");
      if (atMs < before && faults.delayed > 0) happened("reordered");
      const dueMs = faults.delayed > 0 ? atMs : Math.max(atMs, before);
      last.set(pair, Math.max(before, dueMs));
      const data = structuredClone(message);
      to.after(dueMs - timeline.nowMs, () => {
        if (peers.get(channelOf.get(peer) ?? "")?.has(peer)) peer.onmessage?.({ data });
      });
    }
  }

  const channelOf = new Map<Channel, string>();

  return {
    faults,
    channelFor: (life) => (name) => {
      const open = peers.get(name) ?? new Map<Channel, Life>();
      peers.set(name, open);
      const channel: Channel = {
        onmessage: null,
        postMessage(message) {
          if (life.state === "gone") return;
          if (!open.has(channel)) throw new Error("the channel is closed");
          for (const [peer, to] of [...open]) if (peer !== channel) send(life, message, peer, to);
        },
        close() {
          open.delete(channel);
          channelOf.delete(channel);
        },
      };
      channelOf.set(channel, name);
      open.set(channel, life);
      life.onInterrupted((how) => {
        if (how === "gone") channel.close();
      });
      return channel;
    },
  };
}
