import { bareSnapshots, longSession } from "../ways/long-session.js";
import type { Variant, Work } from "../work.js";

export const sessionGrowth: Work = {
  name: "session-growth",
  title: "One more short turn, against the session's length",
  about:
    "The turn of `session`, in sessions of 10 kB to 10 MB. It touches nothing of the messages that are there, so it should cost the same " +
    "everywhere; to write the whole snapshot costs what it weighs.",
  unit: "ms per turn",
  axis: "messages",
  goals: [],
  rounds: 7,
  async open(bench) {
    const bare = await bareSnapshots("bench-growth-bare");
    const closes: (() => Promise<void>)[] = [bare.close];
    const variants: Variant[] = [];
    const per = bench.size(5, 1);
    const repeated = (name: string, at: number, once: () => Promise<void>) =>
      variants.push({
        name,
        at,
        per,
        async run() {
          for (let turn = 0; turn < per; turn++) await once();
        },
      });
    for (const count of bench.quick ? [2, 20] : [27, 270, 2_700, 27_000]) {
      const { messages, turn, close } = await longSession(`bench-growth-${count}`, count);
      closes.push(close);
      repeated("holdfast", count, turn);
      repeated("bare, whole object", count, () => bare.rewrite(messages, (all) => ({ messages: all })));
    }
    return {
      variants,
      async close() {
        for (const close of closes) await close();
      },
    };
  },
};
