import { type HoldfastError, isHoldfastError } from "../../domain/errors.js";
import { casesOn, count, type OpenFixture, type Runner, refusal, refused } from "../kit/fixture.js";
import { claimOf, device, jsonBytes, login, other, refusedFor, stored, TEN_MINUTES, target } from "./logins.fixture.js";
import { errorText } from "./vault.fixture.js";

/** Several login flows: expired, counted, released. */
export function loginFlowCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

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
        jsonBytes({
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

  promise("equal sets of flows have equal bytes, in the order of their keys (R-170)", async ({ kernel: { auth, runtime } }) => {
    const codes = ["b", "a", "c"];
    const fill = async (order: readonly string[]) => {
      await runtime.persistAuthOAuthFlowSnapshot(jsonBytes({}));
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
}
