import { casesOn, count, type OpenFixture, outcomes, type Runner } from "../kit/fixture.js";
import { claimOf, device, login, other, pair, refusedFor, stored, TEN_MINUTES } from "./logins.fixture.js";
import { isInPlace } from "./vault.fixture.js";

/** Logins that end with a redirect of the browser. */
export function browserLoginCases(open: OpenFixture, runner: Runner): void {
  const { expect } = runner;
  const { promise } = casesOn(open, runner);

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
}
