import { createKernel, type ProcessHandler } from "holdfast";
import { deleteBare } from "../bare.js";
import type { Work } from "../work.js";

const NAME = "bench-takeover";
const forEver = new Promise<never>(() => {});

interface Crash {
  /** Time from the order to crash the other tab until this tab has its lock. */
  readonly lockMs: number;
  /** Time from the same order until the first step of its process runs here. */
  readonly stepMs: number;
}

export const takeover: Work = {
  name: "takeover",
  title: "Take over after a crash, lock to first step",
  about:
    "Another tab runs a process and holds a Web Lock of the bench's own; it is crashed. The floor is that bare lock: how long until this " +
    "tab has it. Beside it, of the same crash, how long until the process's first step runs in this tab.",
  unit: "ms from the crash",
  goals: [{ of: "holdfast, first step, p95", over: "bare Web Lock, p95", beyondMs: 250 }],
  tabs: {
    async die({ processId = "" }) {
      await new Promise((held) => {
        void navigator.locks.request(NAME, () => {
          held(undefined);
          return forEver;
        });
      });
      const begun = new Promise<void>((resolve) => {
        const work: ProcessHandler = async (context) => {
          await context.step("before", () => null);
          resolve();
          return await forEver;
        };
        void createKernel({ name: NAME, handlers: { work } }).then((kernel) =>
          kernel.start({ id: processId, input: { type: "task", name: "work" } }),
        );
      });
      await begun;
    },
  },
  async open(bench) {
    let count = 0;
    async function crash(): Promise<Crash> {
      const processId = `p-${count++}`;
      const tab = await bench.openTab("die", { processId });
      let begin = (_: number) => {};
      const stepped = new Promise<number>((resolve) => {
        begin = resolve;
      });
      const work: ProcessHandler = async (context) => {
        await context.step("before", () => null);
        await context.step("after", () => {
          begin(performance.now());
          return null;
        });
        return null;
      };
      const kernel = await createKernel({ name: NAME, handlers: { work } });
      // The kernel knows after a sweep whose lock to wait for.
      await new Promise((resolve) => kernel.on("sweep", resolve));
      const locked = navigator.locks.request(NAME, () => performance.now());
      const startedMs = performance.now();
      await tab.crash();
      const [lockMs, stepMs] = await Promise.all([locked, stepped]);
      await tab.close();
      await kernel.process(processId).result();
      await kernel.close();
      return { lockMs: lockMs - startedMs, stepMs: stepMs - startedMs };
    }

    /** Both variants of a round report the same crashes. */
    let crashes: Promise<Crash[]> | undefined;
    async function crashesOfRound(): Promise<Crash[]> {
      if (crashes) {
        const known = crashes;
        crashes = undefined;
        return await known;
      }
      crashes = (async () => {
        const made: Crash[] = [];
        for (let at = 0; at < bench.size(10, 1); at++) made.push(await crash());
        return made;
      })();
      return await crashes;
    }
    return {
      variants: [
        { name: "bare Web Lock", run: async () => (await crashesOfRound()).map(({ lockMs }) => lockMs) },
        { name: "holdfast, first step", run: async () => (await crashesOfRound()).map(({ stepMs }) => stepMs) },
      ],
      close: () => deleteBare(NAME),
    };
  },
};
