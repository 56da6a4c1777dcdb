import { HoldfastError, NonRetryableError } from "../../../domain/errors.js";
import type { RetryPolicy } from "../../../domain/retry.rules.js";
import { type OpenFixture, type Runner, refused, type Setup } from "../../kit/fixture.js";
import { readRows, writeRows } from "../../kit/rows.fixture.js";
import {
  ABANDONED,
  AT_ONCE,
  comes,
  drained,
  outcomeOf,
  phases,
  prompt,
  quiet,
  said,
  sessionCasesOn,
  stateOf,
  withoutTurns,
  withTurns,
} from "../session.fixture.js";
import { saying } from "./turn.fixture.js";

/** Without chance: a pause of one second, then of four. */
const POLICY: RetryPolicy = { attempts: 3, backoffMs: 1_000, factor: 4, maxBackoffMs: 60_000, jitter: 0 };

/** Turns that failed wait before the next try; some are not tried again. */
export function turnPauseCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = sessionCasesOn(open, runner);

  const isFailed = (setup: Setup, inputId: string, attempts = 1) =>
    comes(async () => {
      const { currentState, attemptCount } = await stateOf(setup.kernel, inputId);
      return currentState === "queued" && attemptCount === attempts;
    }, `failure ${attempts} of ${inputId}`);

  promise("a failed turn is tried again after a pause, which is stored with its cause, and grows (A-18)", async (setup) => {
    const { kernel, session } = await withTurns(setup, POLICY);
    const begun: number[] = [];
    session.onTurn(async (turn) => {
      begun.push(setup.clock.now());
      if (turn.attempt < 3) throw new Error(`cause ${turn.attempt}`);
      turn.append(saying("done"));
    });
    await session.submit(prompt("a"));
    await isFailed(setup, "a");
    const [first = 0] = begun;
    const { error, retryAtMs } = await stateOf(kernel, "a");
    expect([error, retryAtMs]).toEqual(["cause 1", first + 1_000]);
    // The lease was handed back in the failing write.
    expect((await session.owner()) ?? "none").toBe("none");
    await setup.clock.advance(999);
    await quiet();
    expect(begun.length).toBe(1);
    await setup.clock.advance(50);
    await isFailed(setup, "a", 2);
    expect((await stateOf(kernel, "a")).retryAtMs).toBe((begun[1] ?? 0) + 4_000);
    await setup.clock.advance(4_050);
    await drained(kernel);
    const last = await stateOf(kernel, "a");
    expect([last.currentState, last.error ?? "none", last.retryAtMs ?? "none"]).toEqual(["consumed", "none", "none"]);
    expect(await said(session)).toEqual(["a", "done"]);
  });

  promise("what waits behind a paused input keeps its place, the steer lane runs (A-18)", async (setup) => {
    const { kernel, session } = await withTurns(setup, POLICY);
    const ran: string[] = [];
    session.onTurn(async (turn) => {
      const ids = turn.inputs.map(({ inputId }) => inputId).join(" ");
      ran.push(`${ids} ${turn.attempt}`);
      if (ids === "a" && turn.attempt === 1) throw new Error("no");
    });
    await session.submit(prompt("a"));
    await session.submit(prompt("b"));
    await isFailed(setup, "a");
    await session.submit({ inputType: "continuation", inputId: "c" });
    await comes(async () => (await stateOf(kernel, "c")).currentState === "consumed", "the steer lane");
    await quiet();
    expect(ran).toEqual(["a 1", "c 1"]);
    await setup.clock.advance(1_050);
    await drained(kernel);
    expect(ran).toEqual(["a 1", "c 1", "a 2", "b 1"]);
  });

  promise("a cancel of a paused input frees what waits behind it at once (A-18)", async (setup) => {
    const { kernel, session } = await withTurns(setup, POLICY);
    session.onTurn(async (turn) => {
      if (turn.inputs[0]?.inputId === "a") throw new Error("no");
    });
    await session.submit(prompt("a"));
    await session.submit(prompt("b"));
    await isFailed(setup, "a");
    await session.cancel("a");
    await drained(kernel);
    expect(await phases(kernel)).toEqual(["a abandoned", "b consumed"]);
    const { retryAtMs } = await stateOf(kernel, "a");
    expect(retryAtMs ?? "none").toBe("none");
  });

  promise("a pause holds in every tab, and outlives the one that began it (A-18)", async (setup) => {
    const first = await withTurns(setup, POLICY);
    first.session.onTurn(async () => {
      throw new Error("no");
    });
    await first.session.submit(prompt("a"));
    await isFailed(setup, "a");
    await first.kernel.close();
    const begun: number[] = [];
    const second = await withTurns(setup, POLICY);
    second.session.onTurn(async (turn) => void begun.push(turn.attempt));
    await second.session.submit(prompt("b"));
    await setup.clock.advance(900);
    await quiet();
    expect([begun, (await stateOf(setup.kernel, "a")).error]).toEqual([[], "no"]);
    await setup.clock.advance(150);
    await drained(setup.kernel);
    expect(begun).toEqual([2, 1]);
  });

  promise("what cannot succeed is tried once: NonRetryableError, retryIf, what cannot be stored (A-18, A-4)", async (setup) => {
    const big = "x".repeat(1_100_000);
    const fails: [string, RetryPolicy, Parameters<typeof run>[2]][] = [
      ["non-retryable", AT_ONCE, () => Promise.reject(new NonRetryableError("never"))],
      [
        "retryIf",
        { ...AT_ONCE, retryIf: (error) => (error as Error).message !== "hopeless" },
        () => Promise.reject(new Error("hopeless")),
      ],
      [
        "a retryIf that throws",
        {
          ...AT_ONCE,
          retryIf: () => {
            throw new Error("its own");
          },
        },
        () => Promise.reject(new Error("why")),
      ],
      ["one attempt", { attempts: 1 }, () => Promise.reject(new Error("once"))],
      ["a step's result", AT_ONCE, async (turn) => void (await turn.step("load", async () => ({ when: new Date(0) }) as never))],
      ["a large result", AT_ONCE, async (turn) => void (await turn.step("load", async () => big))],
      ["a message", AT_ONCE, async (turn) => void turn.append(saying(big))],
    ];
    async function run(inputId: string, retry: RetryPolicy, handler: Parameters<typeof first.session.onTurn>[0]) {
      const session = await first.kernel.session("s", { retry });
      const off = session.onTurn(handler);
      await session.submit(prompt(inputId));
      await drained(first.kernel);
      off();
      await session.close();
    }
    const first = await withTurns(setup);
    for (const [inputId, retry, handler] of fails) {
      await run(inputId, retry, handler);
      expect(await outcomeOf(setup.kernel, inputId)).toEqual(ABANDONED({ max_attempts_exhausted: { attempts: 1 } }));
      const { error = "", attemptCount } = await stateOf(setup.kernel, inputId);
      expect([inputId, error !== "", attemptCount]).toEqual([inputId, true, 1]);
    }
    expect((await first.session.outcome("retryIf")).error).toBe("hopeless");
    expect((await first.session.outcome("a retryIf that throws")).error).toBe("why");
  });

  promise("an invalid that the handler threw itself is tried again like any other error (A-4)", async (setup) => {
    const { kernel, session } = await withTurns(setup);
    session.onTurn(async (turn) => {
      if (turn.attempt === 1) throw new HoldfastError("invalid", "the app's own");
    });
    await session.submit(prompt("a"));
    await drained(kernel);
    expect(await phases(kernel)).toEqual(["a consumed"]);
  });

  promise("an input that begins no run waits while the next that does stands behind a pause (A-18)", async (setup) => {
    const { kernel, session } = await withTurns(setup, POLICY);
    const ran: string[] = [];
    session.onTurn(async (turn) => {
      ran.push(turn.inputs.map(({ inputId }) => inputId).join(" "));
      if (ran.length === 1) throw new Error("no");
    });
    await session.submit(prompt("a"));
    await isFailed(setup, "a");
    await session.submit({ inputType: "peer", convention: { conventionType: "response_progress" }, inputId: "p" });
    await session.submit(prompt("b"));
    await quiet();
    expect(ran).toEqual(["a"]);
    await setup.clock.advance(1_050);
    await drained(kernel);
    expect(ran).toEqual(["a", "p", "a", "b"]);
  });

  promise("a pause that began before the clock was set back has ended (A-18)", async (setup) => {
    const { kernel, session } = await withTurns(setup, POLICY);
    let attempts = 0;
    session.onTurn(async () => {
      if (++attempts === 1) throw new Error("no");
    });
    await session.submit(prompt("a"));
    await isFailed(setup, "a");
    const [row] = await readRows(setup, "inputs");
    const record = await stateOf(kernel, "a");
    const updatedAtMs = record.updatedAtMs + 3_600_000;
    const ahead = { ...record, updatedAtMs, retryAtMs: updatedAtMs + 1_000 };
    await writeRows(setup, { table: "inputs", put: { ...row, v: 1, record: ahead as never } });
    await setup.clock.advance(2_050);
    await drained(kernel);
    expect(attempts).toBe(2);
  });

  promise("a policy is checked where it is given (A-18)", async (setup) => {
    const broken: unknown[] = [null, 1, {}, { attempts: 0 }, { attempts: 1_001 }, { attempts: 1.5 }];
    const most = Number.MAX_SAFE_INTEGER;
    const more = [
      { backoffMs: -1 },
      { backoffMs: most },
      { maxBackoffMs: most },
      { factor: 0.5 },
      { factor: "2" },
      { maxBackoffMs: -1 },
      { jitter: 1.1 },
      { retryIf: true },
    ];
    for (const retry of [...broken, ...more.map((each) => ({ attempts: 2, ...each }))]) {
      await refused(setup.kernel.session("s", { retry: retry as never }), "invalid");
      await refused(setup.open({ turnRetry: retry as never }), "invalid");
    }
    await withoutTurns(setup);
  });
}
