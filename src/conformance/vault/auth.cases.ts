import { HoldfastError, isHoldfastError } from "../../domain/errors.js";
import type { Kernel } from "../../kernel/kernel.js";
import type { RuntimeStore } from "../../kernel/runtime-store.js";
import type { DevicePoll, OAuthFlows } from "../../kernel/vault/oauth-flows.js";
import {
  casesOn,
  count,
  mismatch,
  type OpenFixture,
  outcomes,
  type Runner,
  readAll,
  refusal,
  refused,
  task,
} from "../kit/fixture.js";
import { hostileObjects, noCount, noId, noObject, noText, type Values } from "../kit/hostile.js";
import { errorText, isInPlace } from "./vault.fixture.js";

const TEN_MINUTES = 600_000;
const target = { realm: "work", binding: "mail" };
const other = { ...target, profile: "second" };
const login = { target, provider: "google", redirectUri: "https://app/back", pkceVerifier: "verifier-of-the-app" };
const device = { target, provider: "github", deviceCode: "code-of-the-device", expiresInMs: 60_000 };
const claimOf = (state: string) => ({ state, target, provider: login.provider, redirectUri: login.redirectUri });

/** Login flows, and the record that they are kept in. */
export function authCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

  /** Two kernels that hold the same flows; one kernel twice where flows are in one kernel's memory. */
  async function pair(first: Kernel, openMore: () => Promise<Kernel>): Promise<[Kernel, Kernel]> {
    return [first, (await isInPlace(first)) ? await openMore() : first];
  }

  async function refusedFor(call: Promise<unknown>, reason: string, code: string): Promise<void> {
    const error = await refusal(call);
    if (!isHoldfastError(error)) throw error;
    expect([(error.details as { reason?: string }).reason, error.code]).toEqual([reason, code]);
  }

  const stored = async ({ runtime }: Kernel) => {
    const bytes = await runtime.loadAuthOAuthFlowSnapshot();
    if (!bytes) return { browser: [], device: [] };
    return JSON.parse(new TextDecoder().decode(bytes)) as {
      browser: Record<string, unknown>[];
      device: Record<string, unknown>[];
    };
  };

  const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const listOf = (bytes: Uint8Array | undefined) => (bytes ? (JSON.parse(new TextDecoder().decode(bytes)) as unknown[]) : []);
  const append = ({ runtime }: { runtime: RuntimeStore }, item: unknown) =>
    runtime.updateAuthOAuthFlowSnapshot((current) => bytesOf([...listOf(current), item]));

  promise(
    "a stored snapshot is replaced whole and comes back byte by byte, whatever it is (R-40)",
    async ({ kernel: { runtime } }) => {
      expect(await runtime.loadAuthOAuthFlowSnapshot()).toBe(undefined);
      for (const bytes of [
        bytesOf({ browser: [], device: [] }),
        Uint8Array.of(0, 255, 254),
        new Uint8Array(0),
        new Uint8Array(70_000).fill(7),
      ]) {
        await runtime.persistAuthOAuthFlowSnapshot(bytes);
        expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(bytes);
      }
    },
  );

  promise("bytes are copied on the way in and out (R-4)", async ({ kernel: { runtime } }) => {
    const given = Uint8Array.of(1, 2);
    const storing = runtime.persistAuthOAuthFlowSnapshot(given);
    given[0] = 9;
    await storing;
    const read = (await runtime.loadAuthOAuthFlowSnapshot()) as Uint8Array;
    expect(read).toEqual(Uint8Array.of(1, 2));
    read[0] = 9;
    let made = new Uint8Array(0);
    await runtime.updateAuthOAuthFlowSnapshot((current) => {
      expect(current).toEqual(Uint8Array.of(1, 2));
      (current as Uint8Array)[0] = 9;
      made = Uint8Array.of(3);
      return made;
    });
    made[0] = 9;
    expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(3));
  });

  promise("the flows are one record for the whole database, apart from all others (R-5, R-173)", async ({ kernel }) => {
    const { runtime, processes, secrets } = kernel;
    const snapshot = bytesOf({ id: "s" });
    await runtime.commitSessionSnapshot("rt:session:s", { sessionSnapshot: snapshot });
    await processes.registerProcess(task("p"));
    await secrets.put("a", "kept");
    const before = await readAll(processes);
    const { state } = await kernel.auth.beginBrowser(login);
    await kernel.auth.admitDevice(device);
    await kernel.auth.consumeBrowser(claimOf(state));
    await kernel.auth.release(target);
    expect(await readAll(processes)).toEqual(before);
    expect(await runtime.loadSessionSnapshot("rt:session:s")).toEqual(snapshot);
    expect(await runtime.loadOpsLifecycle("rt:session:s")).toBe(undefined);
    expect(await runtime.loadInputStates("rt:session:s")).toEqual([]);
    expect(await secrets.get("a")).toBe("kept");
  });

  promise("the authority key is one per durable database, and memory has none (R-7)", async ({ kernel, name, open, restart }) => {
    const keyOf = ({ runtime }: Kernel) => runtime.authAuthorityKey();
    const key = keyOf(kernel);
    if (kernel.processes.durabilityTier() === "inline") return expect(key).toBe(undefined);
    expect(key?.split(":").includes(name)).toBe(true);
    expect(keyOf(await open())).toBe(key);
    expect(keyOf(await open({ name: `${name}-other` })) === key).toBe(false);
    await restart();
    expect(keyOf(await open())).toBe(key);
  });

  promise("an update sees what is stored, and what it returns is stored (R-41)", async ({ kernel }) => {
    const seen: unknown[] = [];
    for (const next of [1, 2]) {
      await kernel.runtime.updateAuthOAuthFlowSnapshot((current) => {
        seen.push(current?.[0]);
        return Uint8Array.of(next);
      });
    }
    expect(seen).toEqual([undefined, 1]);
    expect(await kernel.runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(2));
  });

  promise("updates of one kernel queue up in the order of their calls (R-41, R-43)", async ({ kernel }) => {
    await Promise.all(count(20).map((item) => append(kernel, item)));
    expect(listOf(await kernel.runtime.loadAuthOAuthFlowSnapshot())).toEqual(count(20));
  });

  promise("two kernels that update at once both get what they append (R-41, R-43)", async ({ kernel, open }) => {
    const [one, two] = await pair(kernel, open);
    await Promise.all([append(one, "one"), append(two, "two")]);
    expect(listOf(await kernel.runtime.loadAuthOAuthFlowSnapshot()).sort()).toEqual(["one", "two"]);
  });

  promise("nothing is lost however often two kernels meet (R-43)", async ({ kernel, open }) => {
    const real = { clock: undefined };
    const [one, two] = (await isInPlace(kernel)) ? [await open(real), await open(real)] : [kernel, kernel];
    await Promise.all(count(5).flatMap((item) => [append(one, item), append(two, item + 5)]));
    expect((listOf(await kernel.runtime.loadAuthOAuthFlowSnapshot()) as number[]).sort((a, b) => a - b)).toEqual(count(10));
  });

  promise("what an update throws is thrown as it is, and nothing is stored (R-42)", async ({ kernel: { runtime } }) => {
    await runtime.persistAuthOAuthFlowSnapshot(Uint8Array.of(1));
    for (const thrown of [new HoldfastError("not-found", "gone"), new RangeError("mine"), "a text", undefined]) {
      const update = runtime.updateAuthOAuthFlowSnapshot(() => {
        throw thrown;
      });
      expect((await refusal(update)) === thrown).toBe(true);
    }
    expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(1));
    await runtime.updateAuthOAuthFlowSnapshot(() => Uint8Array.of(2));
    expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(2));
  });

  promise(
    "an update that returns a promise or no bytes is refused, and nothing is stored (R-43)",
    async ({ kernel: { runtime } }) => {
      await runtime.persistAuthOAuthFlowSnapshot(Uint8Array.of(1));
      const results: Values = {
        "a promise": Promise.resolve(Uint8Array.of(2)),
        ...noText(),
        "a text": "x",
        "a buffer": new ArrayBuffer(2),
        "another view": new Uint16Array(2),
      };
      const failing = async () => {
        throw new Error("late");
      };
      await refused(runtime.updateAuthOAuthFlowSnapshot(failing as never), "invalid", "update");
      const wrong: string[] = [];
      for (const [what, result] of Object.entries(results)) {
        const problem = await mismatch(
          runtime.updateAuthOAuthFlowSnapshot(() => result as never),
          "invalid",
          "update",
        );
        if (problem !== undefined) wrong.push(`${what}: ${problem}`);
      }
      for (const [what, value] of Object.entries({ ...noText(), "a promise": Promise.resolve() })) {
        const problems = [
          what === "a function"
            ? undefined
            : await mismatch(runtime.updateAuthOAuthFlowSnapshot(value as never), "invalid", "update"),
          await mismatch(runtime.persistAuthOAuthFlowSnapshot(value as never), "invalid", "snapshot"),
        ];
        for (const problem of problems) if (problem !== undefined) wrong.push(`${what}: ${problem}`);
      }
      expect(wrong).toEqual([]);
      expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(Uint8Array.of(1));
    },
  );

  promise("a snapshot may be as large as its limit and no larger", async ({ open }) => {
    const { runtime } = await open({ limits: { snapshotBytes: 4 } });
    await runtime.persistAuthOAuthFlowSnapshot(new Uint8Array(4));
    await refused(runtime.persistAuthOAuthFlowSnapshot(new Uint8Array(5)), "invalid", "snapshot");
    await refused(
      runtime.updateAuthOAuthFlowSnapshot(() => new Uint8Array(5)),
      "invalid",
      "update",
    );
    expect((await runtime.loadAuthOAuthFlowSnapshot())?.length).toBe(4);
  });

  promise(
    "of two kernels that claim one removal exactly one wins, and the other finds it done (R-44)",
    async ({ kernel, open }) => {
      const [one, two] = await pair(kernel, open);
      await append(kernel, "flow");
      const remove = ({ runtime }: Kernel) =>
        runtime.updateAuthOAuthFlowSnapshot((current) => {
          if (!listOf(current).includes("flow")) throw new HoldfastError("not-found", "already consumed");
          return bytesOf([]);
        });
      const { values, codes } = await outcomes([remove(one), remove(two)]);
      expect([values.length, codes]).toEqual([1, ["not-found"]]);
    },
  );

  promise("a state token is st- and 32 random bytes in base64url (R-160)", async ({ kernel, open }) => {
    const states = await Promise.all(count(5).map(async () => (await kernel.auth.beginBrowser(login)).state));
    for (const state of states) expect(/^st-[A-Za-z0-9_-]{43}$/.test(state)).toBe(true);
    expect(new Set(states).size).toBe(5);
    const fixed = await open({ random: (bytes) => new Uint8Array(bytes).fill(0xfb) });
    expect((await fixed.auth.beginBrowser(login)).state).toBe(`st-${"-_v7".repeat(10)}-_s`);
  });

  promise("a state that comes twice, or cannot be made, is refused and disturbs nothing (R-161)", async ({ open }) => {
    let broken = false;
    const random = (bytes: number) => {
      if (broken) throw new Error("no chance");
      return new Uint8Array(bytes).fill(7);
    };
    const kernel = await open({ random });
    const { state } = await kernel.auth.beginBrowser(login);
    await refusedFor(kernel.auth.beginBrowser({ ...login, pkceVerifier: "other" }), "StateGenerationFailed", "internal");
    broken = true;
    await refusedFor(kernel.auth.beginBrowser(login), "StateGenerationFailed", "internal");
    expect(await kernel.auth.consumeBrowser(claimOf(state))).toEqual({ pkceVerifier: login.pkceVerifier });
  });

  promise("a browser flow is stored when its state is handed out, for ten minutes (R-161)", async ({ kernel, clock }) => {
    const { state, expiresAtMs } = await kernel.auth.beginBrowser(login);
    expect(expiresAtMs).toBe(clock.now() + TEN_MINUTES);
    expect(await stored(kernel)).toEqual({
      browser: [{ state, ...login, createdAtMs: clock.now(), expiresAtMs }],
      device: [],
    });
  });

  promise(
    "verifying does not consume, and neither does a mismatch; target is compared before provider before redirect URI (R-162, R-169)",
    async ({ kernel: { auth } }) => {
      const { state } = await auth.beginBrowser(login);
      const claim = claimOf(state);
      const wrong = { provider: "x", redirectUri: "x" };
      for (const call of [auth.verifyBrowser, auth.consumeBrowser]) {
        await refusedFor(call({ ...claim, state: `${state}x` }), "Missing", "not-found");
        await refusedFor(call({ ...claim, ...wrong, target: other }), "TargetMismatch", "conflict");
        await refusedFor(call({ ...claim, ...wrong }), "ProviderMismatch", "conflict");
        await refusedFor(call({ ...claim, redirectUri: "x" }), "RedirectUriMismatch", "conflict");
        await auth.verifyBrowser(claim);
      }
      expect(await auth.consumeBrowser(claim)).toEqual({ pkceVerifier: login.pkceVerifier });
    },
  );

  promise("a flow is consumed once, also by two kernels at once (R-163)", async ({ kernel, open }) => {
    const [one, two] = await pair(kernel, open);
    for (const round of count(5)) {
      const { state } = await kernel.auth.beginBrowser({ ...login, pkceVerifier: `v${round}` });
      const calls = [one, two].map(({ auth }) => auth.consumeBrowser(claimOf(state)));
      const { values, codes } = await outcomes(calls);
      expect([values, codes]).toEqual([[{ pkceVerifier: `v${round}` }], ["not-found"]]);
      await refusedFor(one.auth.consumeBrowser(claimOf(state)), "Missing", "not-found");
      await refusedFor(two.auth.verifyBrowser(claimOf(state)), "Missing", "not-found");
    }
  });

  promise(
    "a flow begun in one kernel is known to another, and one consumed there is not brought back (R-163, R-170, R-171)",
    async ({ kernel, open, restart }) => {
      const [one, two] = await pair(kernel, open);
      const first = await one.auth.beginBrowser(login);
      await two.auth.verifyBrowser(claimOf(first.state));
      await two.auth.consumeBrowser(claimOf(first.state));
      const second = await one.auth.beginBrowser(login);
      expect((await stored(two)).browser.map(({ state }) => state)).toEqual([second.state]);
      await refusedFor(one.auth.verifyBrowser(claimOf(first.state)), "Missing", "not-found");
      const isKept = await isInPlace(one);
      await restart();
      const later = await open();
      if (isKept) expect(await later.auth.consumeBrowser(claimOf(second.state))).toEqual({ pkceVerifier: login.pkceVerifier });
      else await refusedFor(later.auth.consumeBrowser(claimOf(second.state)), "Missing", "not-found");
    },
  );

  promise("a flow is over at its expiry, not after it (R-166)", async ({ kernel, clock }) => {
    const { state } = await kernel.auth.beginBrowser(login);
    await kernel.auth.admitDevice({ ...device, expiresInMs: TEN_MINUTES });
    await clock.advance(TEN_MINUTES - 1);
    await kernel.auth.verifyBrowser(claimOf(state));
    await (await kernel.auth.pollDevice(device)).finish();
    await clock.advance(1);
    await refusedFor(kernel.auth.consumeBrowser(claimOf(state)), "Missing", "not-found");
    await refusedFor(kernel.auth.pollDevice(device), "Missing", "not-found");
  });

  promise("expired flows are gone with the next call, whatever it is and comes to (R-165)", async ({ kernel, clock }) => {
    const { auth } = kernel;
    const calls: (() => Promise<unknown>)[] = [
      () => refused(auth.verifyBrowser(claimOf("st-x")), "not-found"),
      () => refused(auth.consumeBrowser(claimOf("st-x")), "not-found"),
      () => refused(auth.pollDevice({ ...device, deviceCode: "x" }), "not-found"),
      () => auth.release(other),
      () => auth.admitDevice({ ...device, deviceCode: "y", expiresInMs: 0 }),
    ];
    for (const call of calls) {
      await auth.beginBrowser(login);
      await auth.admitDevice(device);
      await clock.advance(TEN_MINUTES);
      await call();
      expect((await stored(kernel)).browser).toEqual([]);
      expect((await stored(kernel)).device.filter(({ deviceCode }) => deviceCode === device.deviceCode)).toEqual([]);
    }
  });

  promise(
    "no more than 1024 flows are under way, browser and device together; expired ones do not count (R-161, R-165, R-170)",
    async ({ kernel, clock }) => {
      const { auth, runtime } = kernel;
      const times = (expiresInMs: number) => ({ createdAtMs: clock.now(), expiresAtMs: clock.now() + expiresInMs });
      await runtime.persistAuthOAuthFlowSnapshot(
        bytesOf({
          browser: count(1000).map((at) => ({ ...login, state: `st-${at}`, ...times(5_000) })),
          device: count(23).map((at) => ({ target, provider: "github", deviceCode: `c${at}`, ...times(60_000) })),
        }),
      );
      await auth.beginBrowser(login);
      for (const call of [auth.beginBrowser(login), auth.admitDevice(device)]) {
        const error = await refusal(call);
        expect((error as HoldfastError).details).toEqual({ reason: "CapacityExceeded", max: 1024 });
      }
      expect((await stored(kernel)).browser.length).toBe(1001);
      await clock.advance(5_000);
      await auth.admitDevice(device);
      expect((await stored(kernel)).device.length).toBe(24);
    },
  );

  promise("a device code is admitted once, and the one under way is not disturbed (R-167)", async ({ kernel, clock }) => {
    const { auth } = kernel;
    await auth.admitDevice(device);
    const before = await stored(kernel);
    expect(before.device).toEqual([
      { target, provider: "github", deviceCode: device.deviceCode, createdAtMs: clock.now(), expiresAtMs: clock.now() + 60_000 },
    ]);
    await refusedFor(auth.admitDevice({ ...device, expiresInMs: 1 }), "DeviceCodeAlreadyAdmitted", "conflict");
    await refusedFor(auth.admitDevice({ ...device, target: other, provider: "x" }), "DeviceCodeAlreadyAdmitted", "conflict");
    expect(await stored(kernel)).toEqual(before);
    await (await auth.pollDevice(device)).consume();
    await auth.admitDevice(device);
  });

  promise("an expiry that cannot be told is refused (R-167)", async ({ kernel }) => {
    const wrong: string[] = [];
    for (const [what, expiresInMs] of Object.entries({ ...noCount(), "beyond what a time can be": Number.MAX_SAFE_INTEGER })) {
      const problem = await mismatch(
        kernel.auth.admitDevice({ ...device, expiresInMs: expiresInMs as never }),
        "invalid",
        "expiresInMs",
      );
      if (problem !== undefined) wrong.push(`${what}: ${problem}`);
    }
    expect(wrong).toEqual([]);
    expect((await stored(kernel)).device).toEqual([]);
  });

  promise(
    "one poll at a time has a device code; finishing, disposing and consuming let go of it (R-168)",
    async ({ kernel: { auth } }) => {
      const next = async (last: DevicePoll, end: () => PromiseLike<void>) => {
        await refusedFor(auth.pollDevice(device), "DevicePollInProgress", "conflict");
        await end();
        await end();
        await refusedFor(last.consume(), "LifecycleRejected", "conflict");
        return await auth.pollDevice(device);
      };
      await auth.admitDevice(device);
      await auth.admitDevice({ ...device, deviceCode: "another" });
      const [first, second] = await outcomes([auth.pollDevice(device), auth.pollDevice(device)]).then(({ values, codes }) => {
        expect([values.length, codes]).toEqual([1, ["conflict"]]);
        return [values[0], auth.pollDevice({ ...device, deviceCode: "another" })] as const;
      });
      if (!first) throw new Error("no poll");
      await (await second).finish();
      const third = await next(first, first.finish);
      const fourth = await next(third, () => third[Symbol.asyncDispose]());
      await fourth.consume();
      await refusedFor(fourth.consume(), "Missing", "not-found");
      await refusedFor(auth.pollDevice(device), "Missing", "not-found");
      await auth.admitDevice(device);
      await (await auth.pollDevice(device)).finish();
    },
  );

  promise("two polls that consume one code at once remove it once (R-168)", async ({ kernel, open }) => {
    const [one, two] = await pair(kernel, open);
    await kernel.auth.admitDevice(device);
    const first = await one.auth.pollDevice(device);
    const second = one === two ? first : await two.auth.pollDevice(device);
    const { values, codes } = await outcomes([first.consume(), second.consume()]);
    expect([values.length, codes]).toEqual([1, ["not-found"]]);
  });

  promise("a poll names the flow's own target and provider (R-168, R-169)", async ({ kernel: { auth } }) => {
    await auth.admitDevice(device);
    await refusedFor(auth.pollDevice({ ...device, target: other, provider: "x" }), "TargetMismatch", "conflict");
    await refusedFor(auth.pollDevice({ ...device, provider: "x" }), "ProviderMismatch", "conflict");
    await refusedFor(auth.pollDevice({ ...device, deviceCode: "x" }), "Missing", "not-found");
    await (await auth.pollDevice(device)).consume();
  });

  promise("an expiry or a release during the poll ends in Missing (R-168)", async ({ kernel: { auth }, clock }) => {
    for (const end of [() => clock.advance(device.expiresInMs), () => auth.release(target)]) {
      await auth.admitDevice(device);
      const poll = await auth.pollDevice(device);
      await end();
      await refusedFor(poll.consume(), "Missing", "not-found");
      await poll.finish();
    }
  });

  promise("equal sets of flows have equal bytes, in the order of their keys (R-170)", async ({ kernel: { auth, runtime } }) => {
    const codes = ["b", "a", "c"];
    const fill = async (order: readonly string[]) => {
      await runtime.persistAuthOAuthFlowSnapshot(bytesOf({}));
      for (const deviceCode of order) await auth.admitDevice({ ...device, deviceCode });
      return new TextDecoder().decode(await runtime.loadAuthOAuthFlowSnapshot());
    };
    const text = await fill(codes);
    expect(await fill([...codes].reverse())).toBe(text);
    expect((JSON.parse(text) as { device: { deviceCode: string }[] }).device.map(({ deviceCode }) => deviceCode)).toEqual([
      "a",
      "b",
      "c",
    ]);
  });

  promise("a stored set that is broken is told of by every call and stays as it is (R-171)", async ({ kernel }) => {
    const { auth, runtime } = kernel;
    const broken = new TextEncoder().encode('{"browser":[{"pkceVerifier":"verifier-of-the-app"');
    await runtime.persistAuthOAuthFlowSnapshot(broken);
    const calls = {
      beginBrowser: () => auth.beginBrowser(login),
      verifyBrowser: () => auth.verifyBrowser(claimOf("st-x")),
      consumeBrowser: () => auth.consumeBrowser(claimOf("st-x")),
      admitDevice: () => auth.admitDevice(device),
      pollDevice: () => auth.pollDevice(device),
      release: () => auth.release(target),
    };
    for (const [operation, call] of Object.entries(calls)) {
      const error = await refusal(call());
      if (!isHoldfastError(error)) throw error;
      expect([error.code, error.details]).toEqual(["read-failed", { name: "oauth", reason: "PersistenceFailed", operation }]);
      expect(errorText(error).includes("verifier")).toBe(false);
    }
    expect(await runtime.loadAuthOAuthFlowSnapshot()).toEqual(broken);
  });

  promise("a release removes exactly the flows of its target and says how many (R-172)", async ({ kernel }) => {
    const { auth } = kernel;
    const mine = await auth.beginBrowser(login);
    await auth.admitDevice(device);
    const theirs = await auth.beginBrowser({ ...login, target: other });
    const calls = await Promise.all([
      auth.release(target),
      auth.beginBrowser(login),
      auth.release({ realm: "x", binding: "mail" }),
    ]);
    expect([calls[0], calls[2]]).toEqual([2, 0]);
    await auth.verifyBrowser(claimOf(calls[1].state));
    await auth.verifyBrowser({ ...claimOf(theirs.state), target: other });
    await refusedFor(auth.verifyBrowser(claimOf(mine.state)), "Missing", "not-found");
    expect([await auth.release(target), await auth.release(target)]).toEqual([1, 0]);
  });

  promise("neither a refusal nor a notice shows anything secret (R-174)", async ({ clock, open }) => {
    const heard: unknown[] = [];
    const channel = () => ({ postMessage: (message: unknown) => void heard.push(message), onmessage: null, close: () => {} });
    const { auth, close } = await open({ channel });
    const { state } = await auth.beginBrowser(login);
    await auth.admitDevice(device);
    const told = [
      await refusal(auth.consumeBrowser({ ...claimOf(state), target: other })),
      await refusal(auth.consumeBrowser({ ...claimOf(state), redirectUri: "x" })),
      await refusal(auth.admitDevice(device)),
      await refusal(auth.pollDevice({ ...device, provider: "x" })),
      await refusal(auth.beginBrowser({ ...login, provider: "" })),
    ];
    const poll = await auth.pollDevice(device);
    told.push(await refusal(auth.pollDevice(device)));
    await clock.advance(TEN_MINUTES);
    told.push(await refusal(poll.consume()), await refusal(auth.consumeBrowser(claimOf(state))));
    await close();
    told.push(await refusal(auth.admitDevice(device)));
    const text = [...told.map(errorText), JSON.stringify(heard)].join("\n");
    for (const secret of [login.pkceVerifier, device.deviceCode, state]) expect(text.includes(secret)).toBe(false);
    expect(told.every(isHoldfastError)).toBe(true);
  });

  const noTarget = (call: (auth: OAuthFlows, value: never) => Promise<unknown>, field: string): Wrong[] => [
    [field, noObject, call],
    [`${field}.realm`, noId, (auth, realm) => call(auth, { ...target, realm } as never)],
    [`${field}.binding`, noId, (auth, binding) => call(auth, { ...target, binding } as never)],
    [`${field}.profile`, ifGiven(noId), (auth, profile) => call(auth, { ...target, profile } as never)],
  ];
  const noMembers = (
    valid: object,
    texts: readonly string[],
    call: (auth: OAuthFlows, value: never) => Promise<unknown>,
  ): Wrong[] => [
    ["flow", () => ({ undefined: undefined, ...noObject() }), call],
    ...texts.map(
      (name): Wrong => [`flow.${name}`, long(noId), (auth, value) => call(auth, { ...valid, [name]: value } as never)],
    ),
    ...noTarget((auth, value) => call(auth, { ...valid, target: value } as never), "flow.target"),
  ];
  const FIELDS: Record<string, Wrong[]> = {
    beginBrowser: noMembers(login, ["provider", "redirectUri", "pkceVerifier"], (auth, flow) => auth.beginBrowser(flow)),
    verifyBrowser: noMembers(claimOf("s"), ["state", "provider", "redirectUri"], (auth, flow) => auth.verifyBrowser(flow)),
    consumeBrowser: noMembers(claimOf("s"), ["state", "provider", "redirectUri"], (auth, flow) => auth.consumeBrowser(flow)),
    admitDevice: noMembers(device, ["provider", "deviceCode"], (auth, flow) => auth.admitDevice(flow)),
    pollDevice: noMembers(device, ["provider", "deviceCode"], (auth, flow) => auth.pollDevice(flow)),
    release: noTarget((auth, value) => auth.release(value), "target"),
  };
  for (const [method, fields] of Object.entries(FIELDS)) {
    promise(`${method} refuses what cannot be an argument, by its field, and stores nothing`, async ({ kernel }) => {
      const wrong: string[] = [];
      for (const [field, values, call] of fields) {
        for (const [what, value] of Object.entries(values())) {
          const problem = await mismatch(call(kernel.auth, value as never), "invalid", field);
          if (problem !== undefined) wrong.push(`${field} ${what}: ${problem}`);
        }
      }
      expect(wrong).toEqual([]);
      expect(await kernel.runtime.loadAuthOAuthFlowSnapshot()).toBe(undefined);
    });
  }
}

type Wrong = [field: string, values: () => Values, call: (auth: OAuthFlows, value: never) => Promise<unknown>];

const ifGiven = (values: () => Values) => () =>
  Object.fromEntries(Object.entries(values()).filter(([, value]) => value !== undefined));
/** URIs, verifiers and codes may be longer than an id. */
const long = (values: () => Values) => () => ({ ...values(), "one too long": "x".repeat(4_097), ...hostileObjects() });
