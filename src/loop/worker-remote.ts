import { proxy, releaseProxy, transferHandlers, wrap } from "comlink";
import { asHoldfastError, HoldfastError } from "../domain/errors.js";
import { faultOf } from "../kernel/host/fault.js";
import type { Loop, LoopPage } from "../kernel/host/loop-contract.js";
import type { Lazy } from "../kernel/lazy.js";
import type { Clock } from "../ports/clock.js";
import { bounded, carryErrors, type WorkerConfig, type WorkerLoop } from "./wire.js";

/**
 * The page's side of the loop's worker. A silent worker counts as dead: a worker that does not answer, or whose turns keep failing, is
 * ended and replaced. The new one needs only what the page tells at every turn. A worker that never starts, or dies again and again, is
 * given up: the same loop then runs in the page.
 */
interface WorkerLoopParts {
  readonly config: WorkerConfig;
  readonly clock: Clock;
  readonly page: LoopPage;
  createWorker(): Worker;
  /** Makes the loop in the page. */
  readonly inline: Lazy<() => Loop>;
}

const WORKER_START_MS = 10_000;
/** Much shorter than the time that closing may take, since the leases are handed back after it. */
const STOP_MS = 2_000;
const MOST_FAILED_TURNS = 5;
const MOST_WORKER_DEATHS = 3;

/** The end of the fault's message, after the reason. */
const FALLEN =
  "The loop runs in the page now. Check the file of holdfast/worker and the page's policy (worker-src, Trusted Types), " +
  'pass a `worker`, or ask for loop: "inline"';

/** Bundlers see the worker only in exactly this form. */
export function defaultWorker(): Worker {
  return new Worker(new URL("../worker.js", import.meta.url), { type: "module", name: "holdfast" });
}

export function startWorkerLoop(parts: WorkerLoopParts): Loop {
  const { clock, config, page } = parts;
  const pingMs = config.timings.leaseRenewMs / 2;
  /** Set once the worker was given up. */
  let inline: Loop | "loading" | undefined;
  let cancelRetry = () => {};
  let current: WorkerConnection | undefined;
  let deaths = 0;
  let stopped = false;

  function begin(): void {
    if (stopped) return;
    try {
      carryErrors(transferHandlers);
      current = connect(parts.createWorker());
    } catch (error) {
      giveUp(error);
    }
  }

  interface WorkerConnection {
    readonly remote: Pick<ReturnType<typeof wrap<WorkerLoop>>, "poke" | "stop">;
    end(): void;
  }

  function connect(worker: Worker): WorkerConnection {
    let alive = true;
    let cancelPing = () => {};
    // Comlink's finalizer runs for every proxy that is collected, and the browser evicts a page from the back/forward cache that runs
    // anything. So each proxy is made once, and released by hand.
    const root = wrap<WorkerLoop>(worker);
    const remote = { start: root.start, ping: root.ping, poke: root.poke, stop: root.stop };

    function end(): void {
      if (!alive) return;
      alive = false;
      cancelPing();
      for (const made of [root, ...Object.values(remote)]) made[releaseProxy]();
      worker.terminate();
    }

    function die(error: unknown, started: boolean): void {
      if (!alive || stopped) return;
      end();
      deaths++;
      if (!started || deaths > MOST_WORKER_DEATHS) return giveUp(error);
      tell(error);
      begin();
    }

    function pingLater(): void {
      cancelPing = clock.setTimer(() => {
        bounded(clock, remote.ping(), config.timings.leaseRenewMs, "the loop's worker").then(
          (answer: Partial<{ failedTurns: number }> | null | undefined) => {
            if (!alive) return;
            const failedTurns = answer?.failedTurns;
            if (failedTurns === 0) deaths = 0;
            // A script that is not holdfast's loop may answer anything.
            if (typeof failedTurns === "number" && failedTurns < MOST_FAILED_TURNS) pingLater();
            else die(new HoldfastError("unavailable", "the loop's worker gets no turn done"), true);
          },
          (error: unknown) => die(error, true),
        );
      }, pingMs);
    }

    let started = false;
    worker.addEventListener("error", (event) =>
      die(new HoldfastError("unavailable", `the loop's worker failed: ${event.message ?? "not loaded"}`), started),
    );
    worker.addEventListener("messageerror", () =>
      die(new HoldfastError("internal", "the loop's worker sent what cannot be read"), started),
    );
    bounded(clock, remote.start(config, proxy(whileAlive(page, () => alive))), WORKER_START_MS, "the loop's worker").then(
      () => {
        started = true;
        if (alive) pingLater();
      },
      (error: unknown) => die(error, false),
    );
    return { remote, end };
  }

  function giveUp(error: unknown): void {
    const { code, message } = asHoldfastError(error, "unavailable", "the loop's worker could not be made");
    tell(new HoldfastError(code, `${message}. ${FALLEN}`, { cause: error }));
    inline = "loading";
    void runHere();
  }

  async function runHere(): Promise<void> {
    try {
      const create = parts.inline.loaded ?? (await parts.inline.load());
      if (!stopped) inline = create();
    } catch (error) {
      if (stopped) return;
      tell(error);
      cancelRetry = clock.setTimer(() => void runHere(), WORKER_START_MS);
    }
  }

  function tell(thrown: unknown): void {
    void page.fault(faultOf("worker", thrown, "the loop's worker could not be used", "unavailable"));
  }

  const inHere = () => (inline === "loading" ? undefined : inline);

  begin();
  return {
    get kind() {
      return inline ? "inline" : "worker";
    },
    poke(processIds) {
      // A loop that is still to be loaded will look at everything.
      if (inline) inHere()?.poke(processIds);
      else if (!stopped) current?.remote.poke(processIds).catch(() => undefined);
    },
    async stop() {
      const isOver = stopped;
      stopped = true;
      cancelRetry();
      await inHere()?.stop();
      if (inline || !current || isOver) return;
      const { remote, end } = current;
      await bounded(clock, remote.stop(), Math.min(config.timings.leaseRenewMs, STOP_MS), "the loop's worker").catch(
        () => undefined,
      );
      end();
    },
    kill() {
      stopped = true;
      cancelRetry();
      inHere()?.kill();
      current?.end();
    },
  };
}

/** A worker that was replaced may still speak for a moment: what it claims is refused, and what it says is not heard. */
function whileAlive(page: LoopPage, isAlive: () => boolean): LoopPage {
  const heard =
    <Args extends unknown[], T>(call: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> =>
      isAlive() ? call(...args) : Promise.reject(new HoldfastError("closed", "the worker was replaced"));
  return {
    pulse: heard(page.pulse),
    run: async (claims, asOfMs) => (isAlive() ? await page.run(claims, asOfMs) : claims.map(({ lease }) => lease.processId)),
    limitKeys: heard(page.limitKeys),
    schedulesDue: heard(page.schedulesDue),
    renewed: heard(page.renewed),
    moved: heard(page.moved),
    swept: heard(page.swept),
    fault: heard(page.fault),
  };
}
